"""HTML views of results for notebooks: types look them up here, drawing code registers them.

So a type needs neither HTML nor a plotting library, and `core` needs no higher layer. The package's
`__init__` names the module that registers views; it is imported when the first result is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["html", "register_html", "wire"]

Shown = TypeVar("Shown")
_HTML: dict[type, Callable[[Any], str]] = {}
_WIRED: list[Callable[[], None]] = []


def wire(load: Callable[[], None]) -> None:
    """Add a function that imports and registers views; called once, before the first view.

    Args:
        load: Imports the modules that call `register_html`.
    """
    _WIRED.append(load)


def register_html(kind: type[Shown], draw: Callable[[Shown], str]) -> None:
    """Register the HTML view of a type.

    Args:
        kind: The type; a registration for a subclass takes precedence.
        draw: Returns a value of the type as HTML, with all text escaped.
    """
    _HTML[kind] = draw


def html(value: object) -> str:
    """Return a value as HTML, for its `_repr_html_`.

    Args:
        value: Instance of a registered type or of a subclass.

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
