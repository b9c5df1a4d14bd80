"""The grammar of a command: its words, tasks and keys, and the messages for invalid input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Grammar", "Key", "Line", "is_count", "is_whole_or_none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One `key=value` of a command.

    Attributes:
        name: The text before the equals sign.
        keyword: Name of the Python keyword, if it differs.
        default: Value if the key is not given; None for no value.
        read: Converts the value; a result of None means not given.
        is_valid: Returns whether a value is valid.
        valid: Description of the valid values, for messages.
    """

    name: str
    keyword: str = ""
    default: Any = None
    read: Callable[[Any], Any] | None = None
    is_valid: Callable[[Any], bool] | None = None
    valid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """The arguments that a command takes besides `--json`.

    The messages `unknown_key`, `unknown_word`, `surplus` and `other_task` may contain the
    placeholders {key} or {word} and {hint} (the nearest valid name); `missing` and `one` are
    printed verbatim.

    Attributes:
        keys: Keys of the command, in the order in which their values are checked.
        hints: Names to suggest for an unknown key; the names of `keys` if empty.
        unknown_key: Message for an unknown key; empty if every key of training is
            accepted as well.
        words: The only valid words; empty for any.
        unknown_word: Message for an unknown word.
        tasks: Words that name a task, like `task=`.
        first: Required key that the first other word sets.
        missing: Message if that key is missing.
        surplus: Message for a second such word, or a second task.
        other_task: Message for a surplus word that is a task, but not in `tasks`.
        one: Message unless exactly one word besides the task is given; empty for any number.
        light: Whether lines without `=` are parsed without importing Ultralytics.
        free: Whether the command parses the line itself.
    """

    keys: tuple[Key, ...] = ()
    hints: tuple[str, ...] = ()
    unknown_key: str = ""
    words: tuple[str, ...] = ()
    unknown_word: str = ""
    tasks: tuple[str, ...] = ()
    first: str = ""
    missing: str = ""
    surplus: str = ""
    other_task: str = ""
    one: str = ""
    light: bool = False
    free: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A parsed and checked command line.

    Attributes:
        words: Bare words, without the task and without the word that sets the first key.
        keys: Values by keyword, including `task` if one is given.
        json: Whether stdout is reserved for JSON.
        args: The arguments as typed, without the verb.
    """

    words: list[str] = field(default_factory=list)
    keys: dict[str, Any] = field(default_factory=dict)
    json: bool = False
    args: Sequence[str] = ()


def is_count(value: Any) -> bool:
    """Return whether a value is a whole number, 1 or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def is_whole_or_none(value: Any) -> bool:
    """Return whether a value is a whole number or None."""
    return value is None or (isinstance(value, int) and not isinstance(value, bool))
