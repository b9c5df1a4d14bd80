"""The frontier: how far one number of a recipe can go before training is no longer stable.

`request` checks what the user asks, `bisection` says what to probe next, `search` runs it, `stability` calls each run
stable or not, `result` holds what came out, `sentences` and `figure` tell it.
"""
