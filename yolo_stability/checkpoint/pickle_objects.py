"""Objects that a pickle contains when it is read without being executed."""

from __future__ import annotations

from typing import Any

__all__ = ["Global", "Record", "Unreadable"]


class Unreadable(Exception):
    """Not a pickle, or one beyond the limits; the text completes a sentence about the file."""


class Global:
    """Name of a class or function, which is never imported.

    Args:
        name: Dotted name, such as `torch.nn.modules.conv.Conv2d`.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Record:
    """Description of an object that is not created.

    Attributes:
        kind: Dotted name of its class or factory function; empty where it has none.
        arguments: Arguments of that call.
        state: State that would have been set as attributes.
        items: Items that would have been appended.
        table: Items that would have been set by key.
    """

    __slots__ = ("arguments", "items", "kind", "state", "table")

    def __init__(self, kind: str, arguments: Any = ()) -> None:
        self.kind = kind
        self.arguments = arguments
        self.state: Any = None
        self.items: list[Any] = []
        self.table: dict[Any, Any] = {}
