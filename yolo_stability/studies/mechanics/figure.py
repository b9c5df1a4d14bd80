"""The plots and tables of `mechanics`: norms on a log scale, each line labeled at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from yolo_stability.core.files import replace_file
from yolo_stability.core.text import brief
from yolo_stability.display.picture import png_of
from yolo_stability.display.style import FAINT, INK, RC

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["CurveLine", "Panel", "draw_panels", "figures_table"]

# The color-blind safe palette of Okabe and Ito, without its pale yellow.
_PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", INK)
_GRID = "#e3e6ea"
_DPI = 120
_WIDTH, _ROW, _TOP, _BOTTOM = 10.5, 3.2, 0.85, 0.1  # all sizes below are in inches
_LEFT, _RIGHT, _BELOW, _ABOVE = 0.75, 1.45, 0.55, 0.35
_LABEL = 0.155  # height of the label of a line


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveLine:
    """One line of a panel.

    Attributes:
        label: Its label, written at its end; a label has the same color in all panels.
        x: Positions.
        y: Values; 0 is drawn as a triangle at the bottom; a line that ends in None is marked where
            it stops.
        faint: Whether the line is only for comparison.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float | None]
    faint: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel of a plot; two are side by side.

    Attributes:
        title: Title of the panel.
        x_label: Label of the x axis, with unit.
        y_label: Label of the y axis, with unit.
        lines: The lines to draw.
        group: Panels of the same group share their y axis.
        limit: A value to mark with a dashed line, and its label.
    """

    title: str
    x_label: str
    y_label: str
    lines: tuple[CurveLine, ...]
    group: str
    limit: tuple[float, str] | None = None


def draw_panels(panels: Sequence[Panel], path: Path, *, title: str, note: str) -> None:
    """Draw panels in rows of two and write them as a PNG.

    The matplotlib backend, open figures and settings of the user are not changed.

    Args:
        panels: The panels.
        path: File to write or replace atomically; its folder is created.
        title: Title of the plot.
        note: One line below the title.

    Raises:
        OSError: The file cannot be written.
    """
    import matplotlib as mpl

    with mpl.rc_context(RC):
        content = png_of(_figure(panels, title, note), _DPI)
    replace_file(path, content)


def figures_table(title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table of numbers, at most 80 columns wide.

    Args:
        title: Title of the table.
        headers: Name of each column; the first contains labels, the others numbers.
        rows: One text per column, or a single text as a heading for the rows that follow.
    """
    from rich import box
    from rich.table import Table

    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    for i, name in enumerate(headers):
        table.add_column(name, justify="right" if i else "left", no_wrap=i > 0)
    for row in rows:
        table.add_row(*row, style="bold" if len(row) == 1 else "")
    return table


def _figure(panels: Sequence[Panel], title: str, note: str) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = -(-len(panels) // 2)
    height = _TOP + rows * _ROW + _BOTTOM
    figure = Figure(figsize=(_WIDTH, height))
    FigureCanvasAgg(figure)
    figure.text(0.16 / _WIDTH, 1 - 0.3 / height, title, size=14, weight="bold", va="center")
    figure.text(0.16 / _WIDTH, 1 - 0.6 / height, note, size=9.5, color=FAINT, va="center")
    ranges = {
        group: _range([p for p in panels if p.group == group])
        for group in {p.group for p in panels}
    }
    named = [line.label for panel in panels for line in panel.lines if not line.faint]
    colors = {label: _PALETTE[i % len(_PALETTE)] for i, label in enumerate(dict.fromkeys(named))}
    wide = _WIDTH / 2
    for i, panel in enumerate(panels):
        bottom = _BOTTOM + (rows - 1 - i // 2) * _ROW + _BELOW
        box = ((i % 2) * wide + _LEFT, bottom, wide - _LEFT - _RIGHT, _ROW - _BELOW - _ABOVE)
        axes = figure.add_axes((box[0] / _WIDTH, box[1] / height, box[2] / _WIDTH, box[3] / height))
        _draw(axes, panel, ranges[panel.group], colors, box[3])
    return figure


def _range(panels: Sequence[Panel]) -> tuple[float, float]:
    """Return the limits of the y axis: all positive values, and a margin below them for zeros."""
    values = [
        v
        for panel in panels
        for line in panel.lines
        for v in line.y
        if v is not None and np.isfinite(v)
    ]
    values += [panel.limit[0] for panel in panels if panel.limit]
    positive = [v for v in values if v > 0] or [1.0]
    low, high = np.log10(min(positive)), np.log10(max(positive))
    margin = max(0.06 * (high - low), 0.1)
    return float(low - margin * (2 if min(values, default=1.0) <= 0 else 1)), float(high + margin)


def _draw(
    axes: Any, panel: Panel, limits: tuple[float, float], colors: dict[str, str], tall: float
) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    ends: list[tuple[float, str, str]] = []
    for line in panel.lines:
        color = FAINT if line.faint else colors[line.label]
        y = np.array(
            [np.nan if v is None or not np.isfinite(v) else v for v in line.y], dtype=float
        )
        with np.errstate(divide="ignore"):
            height = np.where(y > 0, np.log10(y), np.nan)
        marker = "o" if len(y) <= 20 else None
        style = (0, (4, 2)) if line.faint else "-"
        axes.plot(
            line.x,
            height,
            color=color,
            lw=1.0 if line.faint else 1.5,
            ls=style,
            marker=marker,
            ms=3,
        )
        gone = y == 0
        axes.scatter(
            np.asarray(line.x)[gone],
            np.full(gone.sum(), limits[0]),
            marker="v",
            s=24,
            c=color,
            clip_on=False,
        )
        last = np.flatnonzero(np.isfinite(y))[-1:]
        # not finite until the end: the label is where the line stops
        if len(last) and last[0] < len(y) - 1:
            place = (line.x[last[0]], height[last[0]])
            axes.plot(*place, marker="x", ms=6, mew=1.6, color=color)
            axes.annotate(
                f"{line.label}: NaN or Inf\nfrom here",
                place,
                (8, -2),
                textcoords="offset points",
                size=8.5,
                color=color,
                va="top",
            )
        elif len(last):
            ends.append(
                (limits[0] if y[last[0]] == 0 else float(height[last[0]]), line.label, color)
            )
    if panel.limit:
        axes.axhline(np.log10(panel.limit[0]), color=INK, lw=1, ls=(0, (5, 3)), zorder=3)
        ends.append((float(np.log10(panel.limit[0])), panel.limit[1], INK))
    axes.set_ylim(*limits)
    axes.yaxis.set_major_locator(FixedLocator(_ticks(limits)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: brief(10.0**v)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlim(left=0)
    axes.set_title(panel.title, size=10, weight="bold", loc="left")
    axes.set_xlabel(panel.x_label, size=9)
    axes.set_ylabel(panel.y_label, size=9)
    axes.grid(axis="y", color=_GRID, lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    _name_lines(axes, ends, limits, tall)


def _ticks(limits: tuple[float, float]) -> list[float]:
    """Return at most eight ticks, at whole decades if the axis spans several."""
    low, high = limits
    if high - low < 2.5:
        fine = [
            p + np.log10(m)
            for p in range(int(np.floor(low)), int(np.ceil(high)) + 1)
            for m in (1, 2, 5)
        ]
        return [t for t in fine if low <= t <= high]
    every = int(np.ceil((high - low) / 8))
    first = int(np.ceil(low / every)) * every
    return list(np.arange(first, high, every, dtype=float))


def _name_lines(
    axes: Any, ends: list[tuple[float, str, str]], limits: tuple[float, float], tall: float
) -> None:
    """Write each label at the end of its line, moving labels apart if they would overlap."""
    ends = sorted(ends)
    space = _LABEL / tall
    at = [(value - limits[0]) / (limits[1] - limits[0]) for value, _, _ in ends]
    for _ in range(200):  # adjacent labels that are too close move apart by equal amounts
        for i in range(1, len(at)):
            lack = space - (at[i] - at[i - 1])
            if lack > 1e-4:
                at[i - 1], at[i] = at[i - 1] - lack / 2, at[i] + lack / 2
    for y, (_, label, color) in zip(at, ends, strict=True):
        axes.text(
            1.015,
            y,
            label,
            transform=axes.transAxes,
            size=8.5,
            color=color,
            va="center",
            clip_on=False,
        )
