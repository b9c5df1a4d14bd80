"""What a pickle holds once it is read without running anything in it."""

from __future__ import annotations

from typing import Any

__all__ = ["Global", "Record", "Unreadable"]


class Unreadable(Exception):
    """The bytes are no pickle, or one beyond the limits; the text is the end of a sentence about the file."""


class Global:
    """The name of a class or function, which is never looked up.

    Args:
        name: Dotted name, such as `torch.nn.modules.conv.Conv2d`.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Record:
    """What a pickle says about an object that is not made.

    Attributes:
        kind: Dotted name of its class, or of the function that would have made it; empty where it has none.
        arguments: What that would have been called with.
        state: What would have become its attributes.
        items: What would have been appended to it.
        table: What would have been set by key.
    """

    __slots__ = ("arguments", "items", "kind", "state", "table")

    def __init__(self, kind: str, arguments: Any = ()) -> None:
        self.kind = kind
        self.arguments = arguments
        self.state: Any = None
        self.items: list[Any] = []
        self.table: dict[Any, Any] = {}
