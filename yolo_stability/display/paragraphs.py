"""Paragraphs and lists of text for the terminal."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence

from yolo_stability.core.errors import printable

__all__ = ["bullet_lines", "needs_ascii", "wrapped_lines"]


def wrapped_lines(text: str, width: int, first: str = "", rest: str | None = None) -> list[str]:
    """Wrap a text.

    Args:
        text: One paragraph.
        width: Maximum number of columns; a longer word, such as a path, is broken.
        first: Indent of the first line.
        rest: Indent of the other lines; that of the first if None.

    Example:
        >>> wrapped_lines("a short text", 9, "  ", "    ")
        ['  a short', '    text']
    """
    return textwrap.wrap(
        printable(text),
        width,
        initial_indent=first,
        subsequent_indent=first if rest is None else rest,
        break_on_hyphens=False,
    )


def bullet_lines(texts: Sequence[str], width: int) -> list[str]:
    """Return a list of texts, each wrapped behind a dash."""
    return [line for text in texts for line in wrapped_lines(text, width, "  - ", "    ")]


def needs_ascii() -> bool:
    """Return whether stdout cannot print block characters."""
    try:
        "▙▁".encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return False
