"""Parser of `kind` and `kind:number`, the notation of clips, norms, initializations and faults."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from yolo_stability.core.errors import ConfigError
from yolo_stability.core.registry import Registry, entry_name

__all__ = ["Argument", "Choice", "choose", "split_choice"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """Description of the number after the colon.

    Attributes:
        meaning: Meaning of the number in a few words.
        default: Value if the number is omitted; None if it is required.
        low: Lower bound, exclusive.
        high: Upper bound, inclusive.
        example: A reasonable value, for messages.
    """

    meaning: str
    default: float | None = None
    low: float = 0.0
    high: float = math.inf
    example: float = 1.0


class Choice:
    """Entry of a registry that users write as `kind` or `kind:number`.

    Attributes:
        argument: Description of the number; None for a kind without one.
        value: The number; NaN for a kind without one.

    Example:
        >>> from yolo_stability.interventions.clips import CLIPS
        >>> str(choose(CLIPS, "clip", "agc:0.02"))
        'agc:0.02'
        >>> choose(CLIPS, "clip", "agc").value
        0.01
    """

    argument: ClassVar[Argument | None] = None

    def __init__(self, value: float | None = None) -> None:
        self.value = self._checked(value)

    @classmethod
    def name(cls) -> str:
        """Return the name of the kind: that of its file, or of its entry point."""
        return entry_name(cls)

    def __str__(self) -> str:
        """Return the choice in the notation of users."""
        return self.name() if math.isnan(self.value) else f"{self.name()}:{_round_trip(self.value)}"

    @classmethod
    def _checked(cls, value: float | None) -> float:
        """Return the number, or its default.

        Raises:
            ConfigError: The number is missing, unexpected or out of range.
        """
        kind, argument = cls.name(), cls.argument
        if argument is None:
            if value is not None:
                raise ConfigError(
                    f"Invalid value {kind}:{_round_trip(value)}: {kind} takes no number. Write "
                    f"{kind} alone."
                )
            return math.nan
        if value is None:
            value = argument.default
        if value is None:
            raise ConfigError(
                f"'{kind}' needs {argument.meaning}, for example {kind}:{argument.example:g}."
            )
        if not (argument.low < value <= argument.high) or math.isinf(value):
            limit = "" if math.isinf(argument.high) else f" and at most {argument.high:g}"
            raise ConfigError(
                f"Invalid value {kind}:{_round_trip(value)}: {argument.meaning} must be a finite "
                f"number above {argument.low:g}{limit}, such as {kind}:{argument.example:g}."
            )
        return value


C = TypeVar("C", bound=Choice)


def split_choice(text: str, where: str) -> tuple[str, float | None]:
    """Split `kind:number` into its parts.

    Args:
        text: Value that the user typed.
        where: The setting, for the message.

    Returns:
        Kind and number; None for a missing number.

    Raises:
        ConfigError: The text after the colon is not a number.
    """
    kind, colon, number = str(text).strip().partition(":")
    if not colon:
        return kind, None
    try:
        return kind, float(number)
    except ValueError:
        complaint = f"'{number}' is not a number" if number.strip() else "the number is missing"
        raise ConfigError(f"{where}: {complaint} after the colon; write {kind}:NUMBER.") from None


def choose(registry: Registry[C], key: str, text: str) -> C:
    """Parse a choice such as `agc:0.01`.

    Args:
        registry: Registry of the kinds.
        key: The setting, for messages.
        text: `kind` or `kind:number`.

    Raises:
        ConfigError: The kind is unknown, or its number is invalid.
    """
    where = f"{key}={text}"
    kind, value = split_choice(text, where)
    registry.check(kind, where)
    return registry[kind](value)


def _round_trip(value: float) -> str:
    """Format a number with as few digits as possible, but enough to read the same number back."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)
