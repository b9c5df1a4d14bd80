"""Every error this package raises on purpose; a user's mistake never needs a traceback."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["ConfigError", "DataError", "StabilityError", "TraceError", "nearest", "printable"]

_HIDING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

_LONGEST = 4000


class StabilityError(Exception):
    """Base of all errors of this package; its text says what, where, the nearest valid choice and the next step."""

    def __str__(self) -> str:
        text = super().__str__()
        if len(text) > _LONGEST:  # a value that somebody wrote into a file is told in it
            text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 4 :]}"
        return printable(text)


class ConfigError(StabilityError):
    """A key, value, verb, model or file name the user typed cannot be used."""


class DataError(StabilityError):
    """A dataset, annotation file or image cannot be used."""


class TraceError(StabilityError):
    """A run folder holds no readable trace."""


def printable(text: str) -> str:
    """Return a text whose control and direction characters are written out: `ESC[31m` loses its power.

    Names come from files that others wrote, and a terminal obeys such characters: it would hide, reorder or colour
    what stands around them, or worse. Line ends and tabs stay.
    """
    return _HIDING.sub(lambda hit: hit.group().encode("unicode_escape").decode(), text)


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
