"""Numbers and block names as a person reads them, for tables, titles and axes."""

from __future__ import annotations

import math

__all__ = ["number", "percent", "short_name"]


def number(value: float | None) -> str:
    """Write a number with 3 significant digits: `0.00213`, `41.2`, `4.12e3`; a dash for None."""
    if value is None:
        return "-"
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.2e}".split("e")
    power = int(exponent)
    if -4 <= power < 3:
        return f"{float(f'{value:.2e}'):.{2 - power}f}"
    return f"{mantissa}e{power}"


def percent(share: float | None) -> str:
    """Write a share of 0 to 1 as percent; a dash for None."""
    if share is None:
        return "-"
    return "<0.1%" if 0 < share < 0.0005 else f"{100 * share:.1f}%"


def short_name(name: str, width: int) -> str:
    """Shorten a block's name: `model.23.cv3 Detect cls` to `23.cv3 Detect cls`, then without the module's type.

    Args:
        name: Full name.
        width: Largest number of characters; what is longer loses its middle word, then its end.
    """
    short = name.removeprefix("model.")
    words = short.split(" ")
    if "one2one" in words and "one2one" in words[0]:
        words.remove("one2one")  # its path says so already
    if len(" ".join(words)) > width and len(words) > 2:
        del words[1]
    short = " ".join(words)
    return short if len(short) <= width else short[: max(width - 1, 0)] + "…"
