"""Sections of docstrings in Google style: the prose, and the description of each attribute."""

from __future__ import annotations

import inspect
import re

__all__ = ["attribute_texts", "prose_of"]

_ITEM = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)
_SECTION = re.compile(r"^(?:Args|Attributes|Example|Examples|Raises|Returns):$", re.MULTILINE)


def attribute_texts(cls: type) -> dict[str, str]:
    """Return the description of each attribute in a class's docstring, by name.

    Args:
        cls: The class; bases are not consulted.

    Example:
        >>> from yolo_stability.core.types import Event
        >>> attribute_texts(Event)["attempt"]
        'Attempt it belongs to.'
    """
    text = inspect.cleandoc(vars(cls).get("__doc__") or "").partition("Attributes:\n")[2]
    end = re.search(r"^\S", text, re.MULTILINE)
    items = _ITEM.findall(text[: end.start()] if end else text)
    return {name: " ".join(words.split()) for name, words in items}


def prose_of(docstring: str | None) -> list[str]:
    """Return the paragraphs of a docstring before its first section, each on one line.

    Args:
        docstring: The docstring as written; None for none.

    Example:
        >>> prose_of(prose_of.__doc__)
        ['Return the paragraphs of a docstring before its first section, each on one line.']
    """
    text = _SECTION.split(inspect.cleandoc(docstring or ""))[0]
    parts = re.split(r"\n\s*\n", text)
    return [" ".join(part.split()) for part in parts if part.strip()]
