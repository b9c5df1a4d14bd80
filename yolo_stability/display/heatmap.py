"""`gradient_norms.png`: heat map of every block's gradient norm at every step."""

from __future__ import annotations

import textwrap
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from yolo_stability.core.files import replace_file
from yolo_stability.core.text import brief, short_name
from yolo_stability.display.curves import draw_curves
from yolo_stability.display.picture import png_of
from yolo_stability.display.style import (
    BAD,
    BLANK,
    FAINT,
    GUARD,
    INK,
    RC,
    SCALER,
    ZERO,
)
from yolo_stability.trace.heat_matrix import HeatMatrix

__all__ = ["draw_heatmap"]

_DPI = 130
_WIDTH = 12.0  # inches, as all lengths below
_ROW = 0.2
_LEFT, _RIGHT = 3.0, 1.05
_BRACKET = 0.72
_TOP, _BOTTOM = 1.05, 0.55
_NORM, _LOSS, _STRIP, _GAP = 1.25, 0.75, 0.24, 0.09
_MARGIN, _NOTE_LINE, _LEGEND = 0.16, 0.18, 0.26
_NAME_WIDTH = 30
_NOTE_WIDTH = 155  # characters
_DECADES = 6.0  # maximum color range; smaller values get the darkest color


def draw_heatmap(
    matrix: HeatMatrix,
    path: Path,
    *,
    title: str = "",
    note: str = "",
    clip_norm: float | None = None,
) -> None:
    """Draw the gradient norms of a run and write them as a PNG, in well under a second.

    The user's matplotlib backend, open figures and settings are not changed.

    Args:
        matrix: Blocks by binned steps, from `heat_matrix`.
        path: File to write or replace atomically.
        title: Model, task and seed, from `run_title`.
        note: Text under the title, such as the run's headline.
        clip_norm: Clipping threshold of the run, drawn as a dashed line.

    Raises:
        OSError: The file cannot be written.
    """
    import matplotlib as mpl

    with mpl.rc_context(RC):
        content = png_of(_figure(matrix, title, note, clip_norm), _DPI)
    replace_file(path, content, make_folder=False)


def _figure(matrix: HeatMatrix, title: str, note: str, clip_norm: float | None) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines, handles = textwrap.wrap(note, _NOTE_WIDTH), _legend(matrix)
    heat = max(len(matrix.blocks), 4) * _ROW
    top = _TOP + max(0, len(lines) - 1) * _NOTE_LINE + (_LEGEND if handles else 0)
    height = top + _NORM + _GAP + _LOSS + _GAP + _STRIP + heat + _BOTTOM
    figure = Figure(figsize=(_WIDTH, height))
    FigureCanvasAgg(figure)
    heading = f"Gradient norms: {title}" if title else "Gradient norms"
    figure.text(_MARGIN / _WIDTH, 1 - 0.32 / height, heading, size=13, weight="bold", va="center")
    for i, line in enumerate(lines):
        y = 1 - (0.6 + i * _NOTE_LINE) / height
        figure.text(_MARGIN / _WIDTH, y, line, size=9, color=FAINT, va="center")
    if not len(matrix.total):
        figure.text(0.5, 0.5, "no optimizer step was recorded", size=12, color=FAINT, ha="center")
        return figure

    def panel(bottom: float, tall: float) -> Any:
        return figure.add_axes(
            (_LEFT / _WIDTH, bottom / height, (_WIDTH - _LEFT - _RIGHT) / _WIDTH, tall / height)
        )

    heat_ax = panel(_BOTTOM, heat)
    strip = panel(_BOTTOM + heat, _STRIP)
    loss = panel(_BOTTOM + heat + _STRIP + _GAP, _LOSS)
    norm = panel(_BOTTOM + heat + _STRIP + _LOSS + 2 * _GAP, _NORM)
    image = _draw_blocks(heat_ax, matrix)
    _draw_roles(heat_ax, matrix)
    _draw_strip(strip, matrix)
    draw_curves(norm, loss, matrix, clip_norm)
    for axes in (strip, heat_ax):
        axes.set_xlim(matrix.edges[0], matrix.edges[-1])
    bar = figure.add_axes((1 - 0.88 / _WIDTH, _BOTTOM / height, 0.16 / _WIDTH, heat / height))
    _draw_bar(figure, bar, image)
    if handles:
        figure.legend(
            handles=handles, loc="center left",
            bbox_to_anchor=(_LEFT / _WIDTH, 1 - (top - 0.42) / height), ncols=len(handles),
            frameon=False, fontsize=8.5, handletextpad=0.4, columnspacing=1.4, borderpad=0,
        )  # fmt: skip
    return figure


def _draw_blocks(axes: Any, matrix: HeatMatrix) -> Any:
    """Draw the heat map: one row per block, the first block on top."""
    import matplotlib as mpl

    rows = len(matrix.blocks)
    low, high = _limits(matrix.values)
    cmap = mpl.colormaps["viridis"].with_extremes(bad=BLANK, under=ZERO)
    shown = np.where(np.isneginf(matrix.values), low - 1, matrix.values)
    image = axes.pcolormesh(
        matrix.edges,
        np.arange(rows + 1),
        np.ma.masked_invalid(shown),
        cmap=cmap,
        vmin=low,
        vmax=high,
        rasterized=True,
    )
    axes.set_facecolor(BLANK)
    axes.set_ylim(rows, 0)
    axes.set_yticks(
        np.arange(rows) + 0.5, [short_name(b, _NAME_WIDTH) for b in matrix.blocks], size=8
    )
    axes.tick_params(axis="y", length=0, pad=4)
    axes.set_xlabel("optimizer step")
    axes.xaxis.get_major_locator().set_params(integer=True)
    left, right = _visible(matrix)
    skipped = matrix.guard | matrix.scaler
    _boxes(
        axes,
        left[skipped],
        right[skipped],
        np.zeros(skipped.sum()),
        np.full(skipped.sum(), rows),
        hatch="////",
    )
    for bad, color in _bad_cells(matrix):
        row, column = np.nonzero(bad)
        _boxes(axes, left[column], right[column], row, row + 1, face=color)
    row, column = np.nonzero(matrix.block_nonfinite)
    if 0 < len(row) <= 200 and len(matrix.total) <= 200:
        middle = (left + right) / 2
        size = min(18.0, 1400 / len(matrix.total))
        axes.scatter(
            middle[column], row + 0.5, marker="x", s=size, c="white", linewidths=1.0, zorder=4
        )
    return image


def _bad_cells(matrix: HeatMatrix) -> list[tuple[Any, str]]:
    """Return non-finite cells by color: overflows caught by the AMP scaler are no alarm."""
    overflow = matrix.block_nonfinite & matrix.scaler
    return [(matrix.block_nonfinite & ~matrix.scaler, BAD), (overflow, SCALER)]


def _boxes(
    axes: Any,
    left: Any,
    right: Any,
    top: Any,
    bottom: Any,
    *,
    face: str = "none",
    hatch: str | None = None,
) -> None:
    """Add filled or hatched rectangles in data coordinates as one collection."""
    from matplotlib.collections import PolyCollection

    corners = np.stack(
        [
            np.stack([left, top], -1),
            np.stack([right, top], -1),
            np.stack([right, bottom], -1),
            np.stack([left, bottom], -1),
        ],
        axis=1,
    )
    axes.add_collection(
        PolyCollection(
            list(corners),
            facecolors=face,
            edgecolors="white" if hatch else "none",
            hatch=hatch,
            linewidths=0.5,
            zorder=3,
        ),
        autolim=False,
    )


def _draw_roles(axes: Any, matrix: HeatMatrix) -> None:
    """Draw a bracket and a name for each part of the network, and a line between parts."""
    transform = axes.get_yaxis_transform()
    x = -(_LEFT - _BRACKET) / (_WIDTH - _LEFT - _RIGHT)
    start = 0
    for group, members in groupby(matrix.groups):
        end = start + len(list(members))
        axes.plot(
            [x, x],
            [start + 0.12, end - 0.12],
            transform=transform,
            color=FAINT,
            lw=2.2,
            clip_on=False,
        )
        room = end - start > 5  # a short group has no room for a rotated name
        text = group if room else group.replace(" ", "\n")
        axes.text(
            x - 0.008, (start + end) / 2, text, transform=transform, rotation=90 if room else 0,
            ha="right", va="center", size=8.5, weight="bold", linespacing=0.95, clip_on=False,
        )  # fmt: skip
        if start:
            axes.axhline(start, color="white", lw=2)
        start = end


def _draw_strip(axes: Any, matrix: HeatMatrix) -> None:
    """Draw one mark for each column with a skipped or non-finite step."""
    middle = (matrix.edges[:-1] + matrix.edges[1:]) / 2
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.tick_params(axis="x", bottom=False, labelbottom=False)
    axes.set_facecolor("#f4f5f7")
    for mask, color, marker in _marks(matrix):
        # consecutive marked columns are one mark followed by a bar
        continued = mask & np.concatenate([[False], mask[:-1]])
        floor = np.full(continued.sum(), 0.4)
        _boxes(
            axes,
            matrix.edges[:-1][continued],
            matrix.edges[1:][continued],
            floor,
            floor + 0.2,
            face=color,
        )
        at = middle[mask & ~continued]
        axes.scatter(
            at,
            np.full(len(at), 0.5),
            marker=marker,
            s=42,
            c=color,
            lw=1.4,
            clip_on=False,
            zorder=5,
        )
    axes.text(-0.006, 0.5, "events", transform=axes.transAxes, ha="right", va="center", size=8)


def _marks(matrix: HeatMatrix) -> list[tuple[Any, str, str]]:
    applied = matrix.nonfinite & ~matrix.guard & ~matrix.scaler
    return [(matrix.guard, GUARD, "v"), (matrix.scaler, SCALER, "D"), (applied, INK, "x")]


def _draw_bar(figure: Any, axes: Any, image: Any) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = image.get_clim()
    below = bool((image.get_array() < low).any())
    bar = figure.colorbar(image, cax=axes, extend="min" if below else "neither", extendfrac=0.03)
    whole = np.arange(np.ceil(low), np.floor(high) + 1)
    fine = [
        p + np.log10(m)
        for p in range(int(np.floor(low)), int(np.ceil(high)) + 1)
        for m in (1, 2, 5)
    ]
    ticks = whole if len(whole) > 3 else [t for t in fine if low <= t <= high]
    bar.ax.yaxis.set_major_locator(FixedLocator(list(ticks)))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: brief(10.0**v)))
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=2, labelsize=8)
    bar.set_label("gradient norm (L2, before clipping)", size=8.5)


def _legend(matrix: HeatMatrix) -> list[Any]:
    """Return legend entries for the marks that occur, and no others."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    texts = ("skipped by the guard", "skipped by the AMP scaler", "non-finite, applied")
    handles: list[Any] = [
        Line2D([], [], ls="none", marker=marker, color=color, ms=6, mew=1.4, label=text)
        for (mask, color, marker), text in zip(_marks(matrix), texts, strict=True)
        if mask.any()
    ]
    for (bad, color), text in zip(
        _bad_cells(matrix), ("NaN or Inf in this block", "overflow"), strict=True
    ):
        if bad.any():
            handles.append(Patch(facecolor=color, label=text))
    if np.isneginf(matrix.values).any():
        handles.append(Patch(facecolor=ZERO, label="zero"))
    if (np.isnan(matrix.values) & ~matrix.block_nonfinite).any():
        handles.append(Patch(facecolor=BLANK, label="no gradient"))
    return handles


def _limits(values: Any) -> tuple[float, float]:
    """Return color limits in log10: finite values without low outliers, one to six decades."""
    known = values[np.isfinite(values)]
    if not known.size:
        return 0.0, 1.0
    high = float(known.max())
    low, usual = float(known.min()), float(np.percentile(known, 0.5))
    low = max(low if low > usual - 1 else usual, high - _DECADES)
    return (low, high) if high - low >= 1 else (high - 1, high)


def _visible(matrix: HeatMatrix) -> tuple[Any, Any]:
    """Return left and right of each column's marks, wide enough to be visible."""
    left, right = matrix.edges[:-1].astype(float), matrix.edges[1:].astype(float)
    lack = np.maximum(0.0, 0.0035 * (right[-1] - left[0]) - (right - left)) / 2
    return left - lack, right + lack
