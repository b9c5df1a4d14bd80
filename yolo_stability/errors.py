"""Every error this package raises on purpose; a user's mistake never needs a traceback."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["ConfigError", "DataError", "StabilityError", "TraceError", "nearest"]


class StabilityError(Exception):
    """Base of all errors of this package; its text says what, where, the nearest valid choice and the next step."""


class ConfigError(StabilityError):
    """A key, value, verb, model or file name the user typed cannot be used."""


class DataError(StabilityError):
    """A dataset, annotation file or image cannot be used."""


class TraceError(StabilityError):
    """A run folder holds no readable trace."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return a hint that names the closest valid choices.

    Args:
        word: What the user typed.
        choices: Everything that would have been valid.

    Returns:
        `" Did you mean 'x'?"` with up to two names, or an empty string when nothing is close.
    """
    close = get_close_matches(str(word), [str(c) for c in choices], n=2, cutoff=0.6)
    return f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
