"""`kind` and `kind:number`: how clips, normalisations, initialisations and faults are written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from yolo_stability.core.errors import ConfigError
from yolo_stability.core.registry import Registry, entry_name

__all__ = ["Argument", "Choice", "choose", "split_choice"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """The number behind the colon.

    Attributes:
        meaning: What it says, in a few words.
        default: What holds when it is left out; None when it must be given.
        low: It must be larger than this.
        high: It must not be larger than this.
        example: A sensible value, for messages.
    """

    meaning: str
    default: float | None = None
    low: float = 0.0
    high: float = math.inf
    example: float = 1.0


class Choice:
    """One entry of a registry that users write as `kind` or `kind:number`.

    Attributes:
        argument: What the number means; None for a kind that takes none.
        value: The number; NaN for a kind that takes none.
    """

    argument: ClassVar[Argument | None] = None

    def __init__(self, value: float | None = None) -> None:
        self.value = self._checked(value)

    @classmethod
    def name(cls) -> str:
        """Return the kind as users write it: the name of its file, or of its entry point."""
        return entry_name(cls)

    def __str__(self) -> str:
        """Return the choice as a user would write it."""
        return self.name() if math.isnan(self.value) else f"{self.name()}:{_round_trip(self.value)}"

    @classmethod
    def _checked(cls, value: float | None) -> float:
        """Return the number, or its default.

        Raises:
            ConfigError: It is missing, too many, or out of range.
        """
        kind, argument = cls.name(), cls.argument
        if argument is None:
            if value is not None:
                raise ConfigError(
                    f"'{kind}:{_round_trip(value)}' is not possible: {kind} takes no number. Write {kind} alone."
                )
            return math.nan
        if value is None:
            value = argument.default
        if value is None:
            raise ConfigError(
                f"'{kind}' needs {argument.meaning}: write {kind}:{argument.example:g}, for instance."
            )
        if not (argument.low < value <= argument.high) or math.isinf(value):
            limit = "" if math.isinf(argument.high) else f" and at most {argument.high:g}"
            raise ConfigError(
                f"'{kind}:{_round_trip(value)}' is not possible: {argument.meaning} must be a finite number "
                f"above {argument.low:g}{limit}, such as {kind}:{argument.example:g}."
            )
        return value


C = TypeVar("C", bound=Choice)


def split_choice(text: str, where: str) -> tuple[str, float | None]:
    """Split `kind:number` into its parts.

    Args:
        text: What the user typed.
        where: The setting, for the message.

    Raises:
        ConfigError: What stands behind the colon is no number.
    """
    kind, colon, number = str(text).strip().partition(":")
    if not colon:
        return kind, None
    try:
        return kind, float(number)
    except ValueError:
        complaint = f"'{number}' is no number" if number.strip() else "the number is missing"
        raise ConfigError(f"{where}: {complaint} after the colon; write {kind}:NUMBER.") from None


def choose(registry: Registry[C], key: str, text: str) -> C:
    """Read a choice such as `agc:0.01`.

    Args:
        registry: Where its kind is looked up.
        key: The setting, for messages.
        text: `kind` or `kind:number`.

    Raises:
        ConfigError: There is no such kind, or its number is impossible.
    """
    where = f"{key}={text}"
    kind, value = split_choice(text, where)
    registry.check(kind, where)
    return registry[kind](value)


def _round_trip(value: float) -> str:
    """Return a number as people write it, with as many digits as it takes to read the same number back."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)
