"""How a result is shown in a notebook: the types ask here, and what can draw them registers here.

So a type needs no HTML and no picture library, and `core` knows nothing of what lies above it. The package's `__init__`
names who registers; that is imported when the first result is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["html", "register_html", "wire"]

Shown = TypeVar("Shown")
_HTML: dict[type, Callable[[Any], str]] = {}
_WIRED: list[Callable[[], None]] = []


def wire(load: Callable[[], None]) -> None:
    """Name a function that imports and registers views; it is called once, when the first view is needed.

    Args:
        load: Imports what calls `register_html`.
    """
    _WIRED.append(load)


def register_html(kind: type[Shown], draw: Callable[[Shown], str]) -> None:
    """Register how a type is shown.

    Args:
        kind: The type; what is registered for a subclass wins.
        draw: Returns a value of the type as HTML, with every text in it escaped.
    """
    _HTML[kind] = draw


def html(value: object) -> str:
    """Return a value as HTML, for its `_repr_html_`.

    Args:
        value: Of a registered type, or a subclass of one.

    Raises:
        LookupError: Nothing is registered for its type.
    """
    while _WIRED:
        _WIRED[0]()
        _WIRED.pop(0)
    for kind in type(value).__mro__:
        if kind in _HTML:
            return _HTML[kind](value)
    raise LookupError(f"No view is registered for {type(value).__name__}.")
