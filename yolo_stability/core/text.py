"""Human-readable numbers and block names for tables, titles and axes."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from yolo_stability.core.types import RunHeader

__all__ = [
    "brief",
    "clean",
    "count",
    "listing",
    "number",
    "percent",
    "run_title",
    "setting",
    "short_name",
]


def number(value: float | None, digits: int = 3, *, zeros: bool = True) -> str:
    """Format a number with significant digits, in scientific notation where it is long.

    Args:
        value: The number; None gives a dash.
        digits: Significant digits.
        zeros: Keep trailing zeros, as for columns of a table.

    Example:
        >>> number(0.5), number(4120.0), number(0.00002), number(None)
        ('0.500', '4.12e3', '2.00e-5', '-')
    """
    if value is None:
        return "-"
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power = int(exponent)
    plain = (-3 if zeros else -4) <= power < digits
    text = f"{float(f'{mantissa}e{power}'):.{digits - 1 - power}f}" if plain else mantissa
    if not zeros and "." in text:
        text = text.rstrip("0").rstrip(".")
    return text if plain else f"{text}e{power}"


def brief(value: float | None, digits: int = 3) -> str:
    """Format a number for a sentence, without trailing zeros; `unknown` for None and NaN.

    Example:
        >>> brief(0.5), brief(3e-6), brief(None)
        ('0.5', '3e-6', 'unknown')
    """
    if value is None or math.isnan(value):
        return "unknown"
    return number(value, digits, zeros=False)


def percent(share: float | None) -> str:
    """Format a share in [0, 1] as a percentage; a dash for None.

    Example:
        >>> percent(0.125), percent(0.0001), percent(None)
        ('12.5%', '<0.1%', '-')
    """
    if share is None:
        return "-"
    return "<0.1%" if 0 < share < 0.0005 else f"{100 * share:.1f}%"


def run_title(header: RunHeader) -> str:
    """Return a title of model, task and seed, where known: `yolo26n, detect, seed 0`."""
    known = {**header.effective, **header.requested}
    model, task = known.get("model"), known.get("task")
    parts = [PurePath(str(model)).stem if model else "", str(task or "")]
    if header.seed is not None:
        parts.append(f"seed {header.seed}")
    return ", ".join(p for p in parts if p)


def short_name(name: str, width: int) -> str:
    """Shorten a block's name: drop `model.`, then the module type, then the end.

    Args:
        name: Full name.
        width: Maximum number of characters.

    Example:
        >>> short_name("model.23.cv3 Detect cls", 20), short_name("model.23.cv3 Detect cls", 12)
        ('23.cv3 Detect cls', '23.cv3 cls')
    """
    short = name.removeprefix("model.")
    words = short.split(" ")
    if len(" ".join(words)) > width and len(words) > 2:
        del words[1]
    short = " ".join(words)
    return short if len(short) <= width else short[: max(width - 1, 0)] + "…"


def clean(text: object) -> str:
    """Return a text without control and direction characters, which could hide or reorder text."""
    return "".join(
        c if unicodedata.category(c)[0] != "C" else " " if c in "\n\t\r" else "" for c in str(text)
    )


def count(n: int, word: str, plural: str | None = None) -> str:
    """Return a number with its noun: `1 run`, `2 runs`; `plural` where an s is not enough."""
    return f"{n:,} {word}" if n == 1 else f"{n:,} {plural or word + 's'}"


def listing(items: Iterable[str], word: str = "and") -> str:
    """Return `a, b and c`, or another word before the last item.

    Example:
        >>> listing(["a", "b", "c"]), listing(["off", "skip"], "or")
        ('a, b and c', 'off or skip')
    """
    *front, last = list(items) or [""]
    return f"{', '.join(front)} {word} {last}" if front else last


def setting(value: Any) -> str:
    """Format the value of a setting as a user types it."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={setting(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(setting(item) for item in value)
    return clean(value)
