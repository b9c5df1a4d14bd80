"""Every error this package raises on purpose; a user's mistake never needs a traceback."""

from __future__ import annotations

import re

__all__ = ["ConfigError", "DataError", "StabilityError", "TraceError", "printable"]

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
