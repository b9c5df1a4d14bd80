"""The frontier: how far one numeric key can go before training is unstable.

`request` checks the arguments, `bisection` selects the next probes, `search` runs them, `stability`
classifies each run, `result` holds the result, `sentences` and `figure` present it.
"""
