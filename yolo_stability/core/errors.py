"""Errors that this package raises on purpose; a user's mistake never needs a traceback."""

from __future__ import annotations

import re

__all__ = ["ConfigError", "DataError", "StabilityError", "TraceError", "printable"]

_HIDING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

_LONGEST = 4000


class StabilityError(Exception):
    """Base of all errors of this package.

    The text states what is wrong, where, the nearest valid choice and the next step.

    Example:
        >>> from yolo_stability import load_trace
        >>> try:
        ...     load_trace("no/such/run")
        ... except StabilityError as error:
        ...     type(error).__name__
        'TraceError'
    """

    def __str__(self) -> str:
        text = super().__str__()
        if len(text) > _LONGEST:  # a value read from a file may be of any length
            text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 4 :]}"
        return printable(text)


class ConfigError(StabilityError):
    """A key, value, verb, model or file name that cannot be used."""


class DataError(StabilityError):
    """A dataset, annotation file or image that cannot be used."""


class TraceError(StabilityError):
    """A run folder without a readable trace."""


def printable(text: str) -> str:
    r"""Return a text with control and direction characters escaped.

    File names come from others, and a terminal obeys such characters: they could hide, reorder or
    color the text around them, or worse. Line ends and tabs stay.

    Example:
        >>> printable("\x1b[31mred")
        '\\x1b[31mred'
    """
    return _HIDING.sub(lambda hit: hit.group().encode("unicode_escape").decode(), text)
