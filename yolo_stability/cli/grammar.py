"""How a command declares its line: words, tasks and keys, and the answers to a wrong line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Grammar", "Key", "Line", "is_count", "is_whole_or_none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One `key=value` of a command.

    Attributes:
        name: What the user types before the equals sign.
        keyword: Name of the keyword in Python, where it differs.
        default: Value of a key that is not given; None for no value at all.
        read: Converts the value; a key whose value becomes None counts as not given.
        is_valid: Whether a value is possible.
        valid: The possible values, in words.
    """

    name: str
    keyword: str = ""
    default: Any = None
    read: Callable[[Any], Any] | None = None
    is_valid: Callable[[Any], bool] | None = None
    valid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """What a command takes beside `--json`.

    `unknown_key`, `unknown_word`, `surplus` and `other_task` may name the offending text as {key} or {word}, and the
    nearest valid one as {hint}; `missing` and `one` are printed as they are.

    Attributes:
        keys: Keys of the command, in the order in which their values are checked.
        hints: Names to suggest for an unknown key; those of the keys when empty.
        unknown_key: Sentence for a key that is none of them; empty where every key of training is
            taken as well.
        words: The only possible words; empty for any.
        unknown_word: Sentence for a word that is none of them.
        tasks: Words that name a task, as `task=` does.
        first: Key that the first other word is the value of, and that must be given.
        missing: Sentence for a line without it.
        surplus: Sentence for a second one, or a second task.
        other_task: Sentence for a surplus word that is a task, but none of `tasks`.
        one: Sentence for a line without exactly one word beside the task; empty for any number.
        light: Lines without `=` are read without importing Ultralytics.
        free: The command reads the line itself.
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
    """A command line, read and checked.

    Attributes:
        words: Bare words, without the task and without what became the value of a key.
        keys: Values by keyword, `task` among them if one is named.
        json: Whether stdout is for JSON only.
        args: What the user typed, without the verb.
    """

    words: list[str] = field(default_factory=list)
    keys: dict[str, Any] = field(default_factory=dict)
    json: bool = False
    args: Sequence[str] = ()


def is_count(value: Any) -> bool:
    """Tell whether a value is a whole number, 1 or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def is_whole_or_none(value: Any) -> bool:
    """Tell whether a value is a whole number, or none."""
    return value is None or (isinstance(value, int) and not isinstance(value, bool))
