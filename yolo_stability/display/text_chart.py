"""A curve as a small bar chart of text, for the terminal."""

from __future__ import annotations

import numpy as np

from yolo_stability.core.text import brief
from yolo_stability.display.example_curve import ExampleCurve
from yolo_stability.trace.arrays import Bools, Floats, Ints

__all__ = ["chart_legend", "chart_lines"]

_ROWS = 7
_GUTTER = 9  # columns left of the bars
_MOST = 72  # columns of bars
_REPEAT = 4  # half columns of a value, at most
_BARS = (" ▗▐", "▖▄▟", "▌▙█")
"""Character of a cell, by the half rows that its left and its right bar fill."""
_BARS_PLAIN = (" .|", ".:#", "|##")
_SPARKS, _SPARKS_PLAIN = " ▁▂▃▄▅▆▇█", " ...::::#"


def chart_lines(curve: ExampleCurve, width: int = 80, *, plain: bool = False) -> list[str]:
    """Draw a curve: bars of the example, a row that marks where the rule fired, a healthy run.

    A bar is half a column wide; consecutive places share one if there are too many, which then
    shows their maximum.

    Args:
        curve: The curve, with at least one place.
        width: Maximum number of columns.
        plain: Whether to use ASCII characters only.

    Returns:
        Lines without trailing blanks.
    """
    halves = 2 * max(4, min(width - _GUTTER, _MOST))
    slots = _slots(curve.places.size, halves)
    shares = _binned(curve.scaled(curve.values), slots)
    # on a log scale the smallest value still has a bar, so that it differs from a missing one
    bars = _heights(shares, least=int(curve.logarithmic))
    bad, fired = (_cells(_any(flags, slots)) for flags in (curve.bad, curve.fired))
    low, high = curve.limits
    lines = [curve.title]
    for row in reversed(range(_ROWS)):
        cells = _bar_row(bars, row, _BARS_PLAIN if plain else _BARS)
        if row == 0:
            cells = "".join("x" if b else c for c, b in zip(cells, bad, strict=True))
        label = {0: brief(low, 2), _ROWS - 1: brief(high, 2)}.get(row, "")
        lines.append(f"{label:>{_GUTTER - 2}} |{cells}")
    lines += [f"{'':{_GUTTER - 1}}+{'-' * len(fired)}", _axis(curve, len(fired))]
    marks = "".join("^" if f else " " for f in fired)
    lines.append(f"{'fires':>{_GUTTER - 1}} {marks}")
    if curve.healthy is not None:
        sparks = _sparks(_binned(curve.scaled(curve.healthy), slots), plain=plain)
        lines.append(f"{'healthy':>{_GUTTER - 1}} {sparks}")
    return [line.rstrip() for line in lines]


def chart_legend(curve: ExampleCurve) -> str:
    """Return what the marks of a chart mean, in one sentence."""
    parts = [f"^ marks each {curve.axis} of the finding, which begins where the rule is sure"]
    parts += ["x a value that is NaN or Inf"] if curve.bad.any() else []
    if curve.sampled and not np.isfinite(curve.values).all():
        parts.append("a gap was not measured")
    if curve.healthy is not None:
        parts.append("the last row shows the same of a healthy run")
    return f"{'; '.join(parts)}."


def _slots(size: int, halves: int) -> Ints:
    """Return the first place of each half column, ascending; a place may have several."""
    repeat = max(1, min(halves // size, _REPEAT))
    together = max(1, -(-size // halves))
    return np.repeat(np.arange(0, size, together), repeat)


def _binned(shares: Floats, slots: Ints) -> Floats:
    """Return the maximum of each half column; NaN without any."""
    starts, back = np.unique(slots, return_inverse=True)
    highest: Floats = np.fmax.reduceat(shares, starts)
    return highest[back]


def _any(flags: Bools, slots: Ints) -> Bools:
    """Return whether any place of each half column is flagged."""
    starts, back = np.unique(slots, return_inverse=True)
    flagged: Bools = np.logical_or.reduceat(flags, starts)
    return flagged[back]


def _cells(flags: Bools) -> list[bool]:
    """Return whether either half of each column is flagged."""
    return [bool(flags[i : i + 2].any()) for i in range(0, flags.size, 2)]


def _heights(shares: Floats, *, least: int) -> Ints:
    """Return the height of each bar in half rows; `least` is that of the smallest value."""
    known = np.clip(np.nan_to_num(shares, nan=0.0), 0, 1)
    heights = np.ceil(known * 2 * _ROWS).astype(np.int64)
    return np.where(np.isfinite(shares), np.maximum(heights, least), 0)


def _bar_row(bars: Ints, row: int, characters: tuple[str, str, str]) -> str:
    """Return one row of the chart."""
    parts = np.clip(bars - 2 * row, 0, 2)
    pairs = np.append(parts, np.zeros(parts.size % 2, dtype=np.int64)).reshape(-1, 2)
    return "".join(characters[left][right] for left, right in pairs)


def _sparks(shares: Floats, *, plain: bool) -> str:
    """Return values as one row of blocks, two half columns each."""
    characters = _SPARKS_PLAIN if plain else _SPARKS
    text = ""
    for i in range(0, shares.size, 2):
        known = shares[i : i + 2][np.isfinite(shares[i : i + 2])]
        text += characters[1 + min(7, int(8 * float(known.max())))] if known.size else " "
    return text


def _axis(curve: ExampleCurve, columns: int) -> str:
    """Return the row with the first and the last place."""
    first, last = f"{curve.axis} {curve.places[0]}", str(curve.places[-1])
    return f"{'':{_GUTTER}}{first}{last:>{max(len(last) + 1, columns - len(first))}}"
