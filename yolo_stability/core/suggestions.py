"""Answers to an unknown key, word or name: one sentence with the closest valid choices."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["did_you_mean", "nearest", "unknown"]

_MOST, _LEAST_LIKE = 2, 0.6


def unknown(noun: str, typed: str, choices: Iterable[str]) -> str:
    """Return the message for a name that is none of the valid choices.

    Args:
        noun: What it was read as: `key`, `word`, `task` or `verb`.
        typed: What the user typed.
        choices: All valid names.

    Example:
        >>> unknown("key", "epoch", ["epochs", "batch"])
        "Unknown key 'epoch'. Did you mean 'epochs'?"
    """
    return f"Unknown {noun} '{typed}'.{nearest(typed, choices)}"


def nearest(typed: str, choices: Iterable[str]) -> str:
    """Return a hint with the closest valid choices, to append to a sentence.

    Args:
        typed: What the user typed.
        choices: All valid names.

    Returns:
        `" Did you mean 'x'?"` with up to two names, or an empty string when nothing is close.
    """
    close = get_close_matches(str(typed), [str(c) for c in choices], n=_MOST, cutoff=_LEAST_LIKE)
    return f" {did_you_mean(*close)}" if close else ""


def did_you_mean(*names: str) -> str:
    """Return the question whether one of the names was meant.

    Args:
        *names: One or more names.
    """
    return f"Did you mean {' or '.join(repr(name) for name in names)}?"
