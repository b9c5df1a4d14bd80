"""What an unknown key, word or name is answered with: a sentence that names the closest valid choices."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["did_you_mean", "nearest", "unknown"]

_MOST, _LEAST_LIKE = 2, 0.6


def unknown(noun: str, typed: str, choices: Iterable[str]) -> str:
    """Return the answer to something that is none of the valid choices.

    Args:
        noun: What it was taken for: `key`, `word`, `task` or `verb`.
        typed: What the user typed.
        choices: Everything that would have been valid.

    Example:
        >>> unknown("key", "epoch", ["epochs", "batch"])
        "Unknown key 'epoch'. Did you mean 'epochs'?"
    """
    return f"Unknown {noun} '{typed}'.{nearest(typed, choices)}"


def nearest(typed: str, choices: Iterable[str]) -> str:
    """Return a hint that names the closest valid choices, to follow the full stop of a sentence.

    Args:
        typed: What the user typed.
        choices: Everything that would have been valid.

    Returns:
        `" Did you mean 'x'?"` with up to two names, or an empty string when nothing is close.
    """
    close = get_close_matches(str(typed), [str(c) for c in choices], n=_MOST, cutoff=_LEAST_LIKE)
    return f" {did_you_mean(*close)}" if close else ""


def did_you_mean(*names: str) -> str:
    """Return the question whether one of some names was meant.

    Args:
        *names: One name or more.
    """
    return f"Did you mean {' or '.join(repr(name) for name in names)}?"
