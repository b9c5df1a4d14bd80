"""The plots of a benchmark: heat maps and curves of all arms and the control, per task."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolo_stability.core.text import brief, clean
from yolo_stability.display.picture import png_of
from yolo_stability.display.style import BAD, BLANK, FAINT, GUARD, INK, RC, ZERO
from yolo_stability.report.heatmaps import color_limits, steps_shown
from yolo_stability.report.moments import Pair, pairs, worst_pair
from yolo_stability.report.outline import Outline, Section, TaskGroup
from yolo_stability.report.plotly import axis_name
from yolo_stability.report.run_bins import BinnedRun

__all__ = ["NAME", "Picture", "figures"]

NAME = re.compile(r"g\d+-[a-z0-9-]+-(blocks|curves)\.png")
"""Pattern of the file names of the plots."""

_DPI, _WIDTH, _COLUMNS = 100, 13.0, 4
_ROW, _LEFT, _RIGHT, _TOP, _BOTTOM, _GAP, _HEAD = 0.17, 1.75, 0.3, 0.75, 0.55, 0.22, 0.36  # inches
_PANEL = 1.15
_ARM_INK, _CONTROL_INK = "#0072b2", "#9aa1a9"
_TITLE = 34
_VERDICT_INK = {"failed": BAD, "unstable": "#b35900"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A PNG with its alternative text."""

    name: str
    alt: str
    content: bytes


def figures(outline: Outline) -> Iterator[Picture]:
    """Yield the plots of every task and model with recorded steps."""
    import matplotlib as mpl

    for group in outline.groups:
        shown = [section for section in group.sections if pairs(section)]
        curves = [
            section for section in group.sections if any(s is not None for _, s in section.runs)
        ]
        slug = re.sub(r"[^a-z0-9]+", "-", group.task.lower()).strip("-")[:40] or "task"
        with mpl.rc_context({**RC, "text.parse_math": False}):
            if shown:
                yield Picture(
                    name=f"{group.id}-{slug}-blocks.png",
                    alt=(
                        f"Gradient norm of every block over the steps, {group.title}, one heat map "
                        "per arm"
                    ),
                    content=png_of(_heat_maps(group, shown), _DPI),
                )
            if curves:
                yield Picture(
                    name=f"{group.id}-{slug}-curves.png",
                    alt=(
                        f"Total gradient norm and loss over the steps, {group.title}, one column "
                        "per arm, one line per seed"
                    ),
                    content=png_of(_curves(group, curves), _DPI),
                )


def _new_figure(height: float, title: str) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height))
    FigureCanvasAgg(figure)
    figure.text(0.16 / _WIDTH, 1 - 0.3 / height, title, size=13, weight="bold", va="center")
    return figure


def _panel(figure: Any, left: float, top: float, size: tuple[float, float]) -> Any:
    """Add axes at a position in inches from the upper left."""
    _, height = figure.get_size_inches()
    return figure.add_axes(
        (left / _WIDTH, 1 - (top + size[1]) / height, size[0] / _WIDTH, size[1] / height)
    )


def _name(axes: Any, section: Section) -> None:
    name = clean(section.arm.name)
    name = name if len(name) <= _TITLE else f"{name[: _TITLE - 1]}…"
    axes.set_title(name, loc="left", y=1.0, size=9.5, weight="bold", pad=4)
    verdict = section.cell.verdict
    axes.set_title(
        verdict, loc="right", y=1.0, size=9, pad=4, color=_VERDICT_INK.get(verdict, FAINT)
    )


def _heat_maps(group: TaskGroup, sections: list[Section]) -> Any:
    chosen = [(section, worst_pair(pairs(section))) for section in sections]
    tall = _ROW * max(4, *(len(pair.series.blocks) for _, pair in chosen))
    columns = min(_COLUMNS, len(chosen))
    rows = -(-len(chosen) // columns)
    bar = 0.75
    height = _TOP + rows * (_HEAD + tall + _BOTTOM)
    figure = _new_figure(height, f"Gradient norm of every block, {group.title}")
    figure.text(
        0.16 / _WIDTH, 1 - 0.56 / height,
        "Log scale, shared by all maps. Red: NaN or Inf. Black: zero. Gray: no step. "
        "Red triangle: skipped by the guard. An arm that ended early is shown enlarged.",
        size=9, color=FAINT, va="center",
    )  # fmt: skip
    wide = (_WIDTH - _LEFT - _RIGHT - bar - (columns - 1) * _GAP) / columns
    limits = _common([pair for _, pair in chosen])
    image = None
    for i, (section, pair) in enumerate(chosen):
        row, column = divmod(i, columns)
        top = _TOP + row * (_HEAD + tall + _BOTTOM) + _HEAD
        axes = _panel(figure, _LEFT + column * (wide + _GAP), top, (wide, tall))
        image = _heat_map(axes, pair, limits)
        _name(axes, section)
        if column == 0 or pair.series.blocks != chosen[i - 1][1].series.blocks:
            names = [axis_name(b, 24) for b in pair.series.blocks]
            axes.set_yticks(
                np.arange(len(names)), names if column == 0 else [""] * len(names), size=7
            )
        else:
            axes.set_yticks([])
        axes.tick_params(length=0, pad=2)
    if image is not None:
        _draw_bar(figure, _panel(figure, _WIDTH - bar - 0.1, _TOP + _HEAD, (0.14, tall)), image)
    return figure


def _common(found: list[Pair]) -> tuple[float, float]:
    limits = [color_limits(pair) for pair in found]
    return min(low for low, _ in limits), max(high for _, high in limits)


def _heat_map(axes: Any, pair: Pair, limits: tuple[float, float]) -> Any:
    import matplotlib as mpl
    from matplotlib.colors import ListedColormap

    series = pair.series
    edges = np.append(series.first - 0.5, series.last[-1] + 0.5)
    rows = np.arange(len(series.blocks) + 1) - 0.5
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.ma.masked_invalid(np.log10(series.block_norm))
    axes.set_facecolor(BLANK)
    image = axes.pcolormesh(
        edges, rows, log, cmap=mpl.colormaps["viridis"], vmin=limits[0], vmax=limits[1]
    )
    bad = series.block_nonfinite > 0
    special = np.ma.masked_less(np.where(bad, 1, np.where(series.block_norm == 0, 0, -1)), 0)
    axes.pcolormesh(edges, rows, special, cmap=ListedColormap([ZERO, BAD]), vmin=0, vmax=1)
    skipped = ((series.first + series.last) / 2)[series.skipped > 0]
    axes.scatter(
        skipped, np.full(len(skipped), -0.5), marker="v", s=40, c=GUARD, clip_on=False, zorder=4
    )
    start, end, _ = steps_shown(pair)
    axes.set_xlim(start, end)
    axes.set_ylim(rows[-1], rows[0])
    axes.set_xlabel("optimizer step", size=8, labelpad=2)
    axes.xaxis.get_major_locator().set_params(nbins=4, integer=True)
    axes.tick_params(axis="x", labelsize=7.5)
    return image


def _draw_bar(figure: Any, axes: Any, image: Any) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    bar = figure.colorbar(image, cax=axes)
    bar.ax.yaxis.set_major_locator(MaxNLocator(7, integer=True))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: brief(10.0**v, 3)))
    bar.ax.tick_params(length=2, labelsize=8)
    bar.outline.set_visible(False)


def _curves(group: TaskGroup, sections: list[Section]) -> Any:
    columns = min(_COLUMNS, len(sections))
    rows = -(-len(sections) // columns)
    cell = _HEAD + 2 * _PANEL + 0.12 + _BOTTOM
    height = _TOP + rows * cell
    figure = _new_figure(height, f"Total gradient norm and loss, {group.title}")
    figure.text(
        0.16 / _WIDTH, 1 - 0.56 / height,
        "Blue: the arm, one line per seed. Gray: the control. Red cross: NaN or Inf. "
        "Zero is drawn at the lower edge.",
        size=9, color=FAINT, va="center",
    )  # fmt: skip
    left, gap = 0.85, 0.62
    wide = (_WIDTH - left - _RIGHT - (columns - 1) * gap) / columns
    for i, section in enumerate(sections):
        row, column = divmod(i, columns)
        top = _TOP + row * cell + _HEAD
        for j, (field, label) in enumerate((("norm", "total norm"), ("loss", "loss"))):
            axes = _panel(
                figure, left + column * (wide + gap), top + j * (_PANEL + 0.12), (wide, _PANEL)
            )
            _draw_lines(axes, section, field)
            if not j:
                _name(axes, section)
                axes.tick_params(axis="x", labelbottom=False)
            else:
                axes.set_xlabel("optimizer step", size=8, labelpad=2)
            if column == 0:
                axes.set_ylabel(label, size=8.5)
    return figure


def _draw_lines(axes: Any, section: Section, field: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    sides = [
        (section.control, _CONTROL_INK),
        (section.runs, INK if section.arm.is_control else _ARM_INK),
    ]
    drawn = [(s, color) for runs, color in sides for _, s in runs if s is not None]
    values = np.concatenate([getattr(s, field) for s, _ in drawn])
    known = values[np.isfinite(values) & (values > 0)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.1, 1.0)
    floor = low / 4 if (values == 0).any() else low
    for series, color in drawn:
        _draw_line(axes, series, field, (floor, color))
    axes.set_yscale("log")
    axes.set_ylim(floor / 1.4, high * 1.4)
    axes.yaxis.set_major_locator(
        LogLocator(subs=(1.0,) if high / floor > 300 else (1.0, 2.0, 5.0), numticks=5)
    )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: brief(v, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.tick_params(labelsize=7.5, length=2)
    axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_line(axes: Any, series: BinnedRun, field: str, style: tuple[float, str]) -> None:
    floor, color = style
    middle, values = (series.first + series.last) / 2, getattr(series, field)
    axes.plot(middle, np.where(values == 0, floor, values), color=color, lw=1.2, marker="o", ms=1.6)
    if field == "norm":
        bad = middle[series.nonfinite > 0]
        place = axes.get_xaxis_transform()
        axes.scatter(
            bad,
            np.full(len(bad), 0.96),
            marker="x",
            s=22,
            c=BAD,
            lw=1.2,
            transform=place,
            clip_on=False,
        )
