"""Draws `frontier.png`: one bar per setting over its stable range, and one mark per run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from yolo_stability.core.files import replace_file
from yolo_stability.core.text import brief
from yolo_stability.display.picture import png_of
from yolo_stability.display.style import FAINT, INK, RC

__all__ = ["Mark", "Row", "draw_frontier"]

# blue and vermilion of Okabe and Ito, which also differ in lightness
_STABLE, _UNSTABLE = "#0072b2", "#d55e00"
_BAR, _GAP = "#c9dff0", "#f6dfcc"
_GRID = "#e3e6ea"
_DPI = 120
_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 10.5, 2.5, 2.4, 0.95, 0.95  # all sizes below are in inches
_LANE, _MARGIN = 0.2, 0.28
_LABEL_WIDTH = 32  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One run.

    Attributes:
        value: Its value on the axis.
        lane: Index of its seed in the row, from 0.
        verdict: stable, unstable, crashed or inconclusive.
    """

    value: float
    lane: int
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One setting.

    Attributes:
        label: Its name.
        stable: The last value at which all seeds are stable; None without one.
        failing: The first value at which a seed fails; None without one.
        text: Short text of the edge, at the right.
        lanes: Labels of its seeds.
        marks: Its runs.
    """

    label: str
    stable: float | None
    failing: float | None
    text: str
    lanes: tuple[str, ...]
    marks: tuple[Mark, ...]


# Shape, fill and color are redundant, so that the plot is readable without color.
_MARKS: dict[str, dict[str, Any]] = {
    "stable": {"marker": "o", "facecolor": _STABLE, "edgecolor": _STABLE, "s": 34},
    "unstable": {"marker": "x", "color": _UNSTABLE, "s": 38, "linewidths": 1.8},
    "crashed": {"marker": "s", "facecolor": "white", "edgecolor": INK, "s": 30, "linewidths": 1.2},
    "inconclusive": {
        "marker": "D",
        "facecolor": "white",
        "edgecolor": FAINT,
        "s": 28,
        "linewidths": 1.2,
    },
}


def draw_frontier(
    rows: Sequence[Row], path: Path, *, axis: str, ends: tuple[float, float], title: str, note: str
) -> None:
    """Draw the plot and write it atomically as a PNG.

    The matplotlib backend, open figures and settings of the user are not changed.

    Args:
        rows: The settings.
        path: File to write or replace.
        axis: Name of the axis.
        ends: Its stable end and its other end.
        title: Title of the plot.
        note: One line below the title.

    Raises:
        OSError: The file cannot be written.
    """
    import matplotlib as mpl

    with mpl.rc_context(RC):
        content = png_of(_figure(rows, axis, ends, title, note), _DPI)
    replace_file(path, content, make_folder=False)


def _figure(
    rows: Sequence[Row], axis: str, ends: tuple[float, float], title: str, note: str
) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tall = sum(_height(row) for row in rows) or _MARGIN
    height = _TOP + tall + _BOTTOM
    figure = Figure(figsize=(_WIDTH, height))
    FigureCanvasAgg(figure)
    figure.text(0.16 / _WIDTH, 1 - 0.3 / height, title, size=12, weight="bold", va="center")
    figure.text(0.16 / _WIDTH, 1 - 0.6 / height, note, size=9, color=FAINT, va="center")
    box = (_LEFT / _WIDTH, _BOTTOM / height, (_WIDTH - _LEFT - _RIGHT) / _WIDTH, tall / height)
    axes = figure.add_axes(box)
    _scale(axes, axis, ends, tall)
    at = 0.0
    for i, row in enumerate(rows):
        _draw(axes, row, at, ends[0])
        at += _height(row)
        if i < len(rows) - 1:
            axes.axhline(at, color=_GRID, lw=0.6)
    shown = {mark.verdict for row in rows for mark in row.marks}
    _legend(figure, axes, [verdict for verdict in _MARKS if verdict in shown], height)
    return figure


def _height(row: Row) -> float:
    """Return the height of a row in inches, the unit of the y axis."""
    return _LANE * max(1, len(row.lanes)) + _MARGIN


def _scale(axes: Any, axis: str, ends: tuple[float, float], tall: float) -> None:
    """Set up the log axis, with the stable end on the left."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    first, last = np.log10(ends[0]), np.log10(ends[1])
    margin = 0.04 * (last - first)
    axes.set_xlim(first - margin, last + margin)
    axes.set_ylim(tall, 0)
    axes.xaxis.set_major_locator(FixedLocator(_ticks(*sorted((first, last)))))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: brief(10.0**v)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks([])
    axes.grid(axis="x", color=_GRID, lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_xlabel(f"{axis} (log scale)", size=9)


def _ticks(low: float, high: float) -> list[float]:
    """Return log10 of the ticks: 1, 2 and 5 per decade over a short range, else decades."""
    powers = range(int(np.floor(low)), int(np.ceil(high)) + 1)
    digits = range(1, 10) if high - low < 0.8 else (1, 2, 5) if high - low < 2.5 else (1,)
    found = [p + float(np.log10(m)) for p in powers for m in digits]
    inside = [t for t in found if low - 1e-9 <= t <= high + 1e-9]
    return inside[:: int(np.ceil(len(inside) / 12))] if len(inside) > 1 else [low, high]


def _draw(axes: Any, row: Row, at: float, start: float) -> None:
    """Draw one setting."""
    middle, lanes = at + _height(row) / 2, max(1, len(row.lanes))
    thick = _LANE * lanes + 0.08
    if row.stable is not None:
        left, right = np.log10(start), np.log10(row.stable)
        axes.barh(
            middle, right - left, thick, left=left, color=_BAR, edgecolor=_STABLE, lw=0.8, zorder=1
        )
        if row.failing is not None:
            wide = np.log10(row.failing) - right
            axes.barh(
                middle,
                wide,
                thick,
                left=right,
                color=_GAP,
                edgecolor=_UNSTABLE,
                lw=0.8,
                hatch="////",
                zorder=1,
            )
    top = middle - _LANE * (lanes - 1) / 2
    for verdict, style in _MARKS.items():
        own = [mark for mark in row.marks if mark.verdict == verdict]
        places = [top + _LANE * mark.lane for mark in own]
        axes.scatter(
            np.log10([mark.value for mark in own]), places, zorder=3, clip_on=False, **style
        )
    label = row.label if len(row.label) <= _LABEL_WIDTH else f"{row.label[: _LABEL_WIDTH - 1]}…"
    end = axes.get_yaxis_transform()
    axes.text(-0.02, middle, label, transform=end, ha="right", va="center", size=8.5)
    axes.text(
        1.02, middle, row.text, transform=end, ha="left", va="center", size=8.5, weight="bold"
    )


def _legend(figure: Any, axes: Any, verdicts: Sequence[str], height: float) -> None:
    """Draw the legend of marks and bars in one line at the bottom."""
    from matplotlib.patches import Patch

    words = {
        "stable": "stable run",
        "unstable": "unstable run",
        "crashed": "crashed",
        "inconclusive": "inconclusive",
    }
    handles: list[Any] = [axes.scatter([], [], label=words[v], **_MARKS[v]) for v in verdicts]
    handles += [
        Patch(facecolor=_BAR, edgecolor=_STABLE, lw=0.8, label="stable for all seeds"),
        Patch(facecolor=_GAP, edgecolor=_UNSTABLE, lw=0.8, hatch="////", label="range of the edge"),
    ]
    place = {"loc": "lower left", "bbox_to_anchor": (0.1 / _WIDTH, 0.04 / height)}
    figure.legend(handles=handles, ncol=len(handles), frameon=False, fontsize=8, **place)
