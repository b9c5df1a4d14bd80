"""`gradient_norms.png`: what every block's gradient did at every step, readable at a glance."""

from __future__ import annotations

import io
import os
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from yolo_stability.report.labels import number, short_name
from yolo_stability.summary import HeatMatrix

__all__ = ["draw_heatmap"]

_DPI = 130
_WIDTH = 12.0  # inches, as all that follow
_ROW = 0.2
_LEFT, _RIGHT = 2.75, 1.05
_TOP, _BOTTOM = 1.2, 0.55
_NORM, _LOSS, _STRIP, _GAP = 1.25, 0.75, 0.24, 0.09
_NAME_WIDTH = 27
_DECADES = 6.0  # the colours span no more than this; what is smaller gets the darkest
_MAX_EPOCH_LABELS = 16

_INK, _FAINT, _GRID = "#22272e", "#6b7480", "#e3e6ea"
_NORM_INK, _LOSS_INK = "#22577a", "#7a5c22"
_BAD, _GUARD, _SCALER, _BLANK = "#e4002b", "#e4002b", "#ff8c00", "#d5d8dc"
_RC = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.edgecolor": _FAINT,
    "axes.linewidth": 0.6,
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "text.usetex": False,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "hatch.linewidth": 0.7,
    "savefig.bbox": None,
    "savefig.transparent": False,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "axes.grid": False,
}


def draw_heatmap(matrix: HeatMatrix, path: Path, *, title: str, note: str = "", clip_norm: float | None = None) -> None:
    """Draw the gradient norms of a run and write them as a PNG, in well under a second.

    The user's matplotlib backend, open figures and settings stay as they are.

    Args:
        matrix: Blocks by binned steps, from `heat_matrix`.
        path: File to write or replace, at once or not at all.
        title: Model, task and seed.
        note: One line under the title, such as the run's headline.
        clip_norm: Norm to which the run clipped, drawn as a dashed line.

    Raises:
        OSError: The file cannot be written.
    """
    import matplotlib as mpl

    with mpl.rc_context(_RC):
        figure = _figure(matrix, title, note, clip_norm)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": "yolo_stability"})
    temp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temp.write_bytes(buffer.getvalue())
        temp.replace(path)
    finally:
        temp.unlink(missing_ok=True)


def _figure(matrix: HeatMatrix, title: str, note: str, clip_norm: float | None) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heat = max(len(matrix.blocks), 4) * _ROW
    height = _TOP + _NORM + _GAP + _LOSS + _GAP + _STRIP + heat + _BOTTOM
    figure = Figure(figsize=(_WIDTH, height))
    FigureCanvasAgg(figure)
    figure.text(0.16 / _WIDTH, 1 - 0.32 / height, title, size=13, weight="bold", va="center")
    figure.text(0.16 / _WIDTH, 1 - 0.6 / height, note, size=9, color=_FAINT, va="center")
    if not len(matrix.total):
        figure.text(0.5, 0.5, "no optimizer step was recorded", size=12, color=_FAINT, ha="center")
        return figure

    def panel(bottom: float, tall: float) -> Any:
        return figure.add_axes((_LEFT / _WIDTH, bottom / height, (_WIDTH - _LEFT - _RIGHT) / _WIDTH, tall / height))

    heat_ax = panel(_BOTTOM, heat)
    strip = panel(_BOTTOM + heat, _STRIP)
    loss = panel(_BOTTOM + heat + _STRIP + _GAP, _LOSS)
    norm = panel(_BOTTOM + heat + _STRIP + _LOSS + 2 * _GAP, _NORM)
    image = _draw_blocks(heat_ax, matrix)
    _draw_roles(heat_ax, matrix)
    _draw_strip(strip, matrix)
    _draw_line(norm, matrix, matrix.total, "total norm", _NORM_INK)
    _draw_line(loss, matrix, matrix.loss, "loss", _LOSS_INK)
    if clip_norm is not None:
        _draw_clip(norm, clip_norm)
    for axes in (norm, loss, strip, heat_ax):
        axes.set_xlim(matrix.edges[0], matrix.edges[-1])
    _draw_attempts((norm, loss), matrix)
    _draw_epochs(norm, (norm, loss), matrix)
    bar = figure.add_axes((1 - 0.88 / _WIDTH, _BOTTOM / height, 0.16 / _WIDTH, heat / height))
    _draw_bar(figure, bar, image)
    _draw_legend(figure, matrix, 1 - 0.32 / height)
    return figure


def _draw_blocks(axes: Any, matrix: HeatMatrix) -> Any:
    """The heat map: one row a block, the first block on top."""
    import matplotlib as mpl

    rows = len(matrix.blocks)
    low, high = _limits(matrix.values)
    cmap = mpl.colormaps["viridis"].with_extremes(bad=_BLANK, under="#1f0030")
    shown = np.where(np.isneginf(matrix.values), low - 1, matrix.values)
    image = axes.pcolormesh(
        matrix.edges, np.arange(rows + 1), np.ma.masked_invalid(shown), cmap=cmap, vmin=low, vmax=high, rasterized=True
    )
    axes.set_facecolor(_BLANK)
    axes.set_ylim(rows, 0)
    axes.set_yticks(np.arange(rows) + 0.5, [short_name(b, _NAME_WIDTH) for b in matrix.blocks], size=8)
    axes.tick_params(axis="y", length=0, pad=4)
    axes.set_xlabel("optimizer step")
    axes.xaxis.get_major_locator().set_params(integer=True)
    left, right = _visible(matrix)
    skipped = matrix.guard | matrix.scaler
    _boxes(axes, left[skipped], right[skipped], np.zeros(skipped.sum()), np.full(skipped.sum(), rows), hatch="////")
    row, column = np.nonzero(matrix.block_nonfinite)
    _boxes(axes, left[column], right[column], row, row + 1, face=_BAD)
    if 0 < len(row) <= 200 and len(matrix.total) <= 200:
        middle = (left + right) / 2
        size = min(18.0, 1400 / len(matrix.total))
        axes.scatter(middle[column], row + 0.5, marker="x", s=size, c="white", linewidths=1.0, zorder=4)
    return image


def _boxes(
    axes: Any, left: Any, right: Any, top: Any, bottom: Any, *, face: str = "none", hatch: str | None = None
) -> None:
    """Filled or hatched rectangles in data coordinates, all in one collection."""
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
            corners, facecolors=face, edgecolors="white" if hatch else "none", hatch=hatch, linewidths=0.5, zorder=3
        ),
        autolim=False,
    )


def _draw_roles(axes: Any, matrix: HeatMatrix) -> None:
    """A bracket and a name for each part of the network, left of the block names, and a line between parts."""
    transform = axes.get_yaxis_transform()
    x = -(_LEFT - 0.42) / (_WIDTH - _LEFT - _RIGHT)
    start = 0
    for group, members in groupby(matrix.groups):
        end = start + len(list(members))
        axes.plot([x, x], [start + 0.12, end - 0.12], transform=transform, color=_FAINT, lw=2.2, clip_on=False)
        # A short group has no room for a turned name of two words on one line.
        text = group.replace(" ", "\n") if end - start < 5 else group
        axes.text(
            x - 0.008, (start + end) / 2, text, transform=transform, rotation=90, ha="right", va="center",
            size=8.5, weight="bold", color=_INK, linespacing=0.95, clip_on=False,
        )  # fmt: skip
        if start:
            axes.axhline(start, color="white", lw=2)
        start = end


def _draw_strip(axes: Any, matrix: HeatMatrix) -> None:
    """One mark for each column with a skipped or non-finite step."""
    middle = (matrix.edges[:-1] + matrix.edges[1:]) / 2
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.tick_params(axis="x", bottom=False, labelbottom=False)
    axes.set_facecolor("#f4f5f7")
    for mask, colour, marker in _marks(matrix):
        axes.scatter(
            middle[mask], np.full(mask.sum(), 0.5), marker=marker, s=42, c=colour, lw=1.4, clip_on=False, zorder=5
        )
    axes.text(-0.006, 0.5, "events", transform=axes.transAxes, ha="right", va="center", size=8)


def _marks(matrix: HeatMatrix) -> list[tuple[Any, str, str]]:
    applied = matrix.nonfinite & ~matrix.guard & ~matrix.scaler
    return [(matrix.guard, _GUARD, "v"), (matrix.scaler, _SCALER, "D"), (applied, _INK, "x")]


def _draw_line(axes: Any, matrix: HeatMatrix, values: Any, label: str, colour: str) -> None:
    middle = (matrix.edges[:-1] + matrix.edges[1:]) / 2
    short = len(values) <= 60
    axes.plot(middle, values, color=colour, lw=1.3, marker="o" if short else None, ms=2.6)
    known = values[np.isfinite(values)]
    if known.size and known.min() > 0:
        axes.set_yscale("log")
        _tick_log(axes, known)
    axes.set_ylabel(label, rotation=0, ha="right", va="center", labelpad=30, color=colour, weight="bold")
    axes.tick_params(axis="x", labelbottom=False, length=0)
    axes.grid(axis="y", color=_GRID, lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _tick_log(axes: Any, values: Any) -> None:
    """Ticks with plain numbers, few enough to read, also where the values span less than a decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    decades = np.log10(values.max() / values.min())
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if decades > 2 else (1.0, 2.0, 5.0), numticks=6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: _plain(v)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())


def _draw_clip(axes: Any, clip_norm: float) -> None:
    axes.axhline(clip_norm, color=_INK, lw=1, ls=(0, (5, 3)))
    axes.text(
        1.006, clip_norm, f"clip {number(clip_norm)}".removesuffix(".0"), transform=axes.get_yaxis_transform(),
        va="center", size=8, color=_INK,
    )  # fmt: skip


def _draw_attempts(panels: tuple[Any, ...], matrix: HeatMatrix) -> None:
    """A line where a recovery or a resume began a new attempt."""
    for i, step in enumerate(matrix.attempt_steps, start=2):
        for axes in panels:
            axes.axvline(step, color="#8e44ad", lw=1.1)
        panels[0].annotate(
            f"attempt {i}", (step, 1), (3, -2), xycoords=("data", "axes fraction"), textcoords="offset points",
            size=7.5, color="#8e44ad", va="top",
        )  # fmt: skip


def _draw_epochs(top: Any, panels: tuple[Any, ...], matrix: HeatMatrix) -> None:
    """Epochs, counted from 1 as Ultralytics prints them, along the upper edge."""
    every = max(1, -(-len(matrix.epochs) // _MAX_EPOCH_LABELS))
    chosen = list(zip(matrix.epoch_steps, matrix.epochs, strict=True))[::every]
    axis = top.secondary_xaxis("top")
    axis.set_xticks([s for s, _ in chosen], [str(e + 1) for _, e in chosen], size=8)
    axis.tick_params(length=3, pad=1)
    axis.spines["top"].set_visible(False)
    top.annotate("epoch", (0, 1), (-6, 5), xycoords="axes fraction", textcoords="offset points", size=8, ha="right")
    for axes in panels:
        for step, _ in chosen:
            axes.axvline(step, color=_GRID, lw=0.6, zorder=0)


def _draw_bar(figure: Any, axes: Any, image: Any) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    bar = figure.colorbar(image, cax=axes, extend="min", extendfrac=0.03)
    low, high = image.get_clim()
    whole = np.arange(np.ceil(low), np.floor(high) + 1)
    fine = [p + np.log10(m) for p in range(int(np.floor(low)), int(np.ceil(high)) + 1) for m in (1, 2, 5)]
    ticks = whole if len(whole) > 3 else [t for t in fine if low <= t <= high]
    bar.ax.yaxis.set_major_locator(FixedLocator(ticks))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: _plain(10**v)))
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=2, labelsize=8)
    bar.set_label("gradient norm (L2, before clipping)", size=8.5)


def _draw_legend(figure: Any, matrix: HeatMatrix, y: float) -> None:
    """Explain the marks that occur, and no others."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    texts = ("skipped by the guard", "skipped by the AMP scaler", "non-finite, applied")
    handles: list[Any] = [
        Line2D([], [], ls="none", marker=marker, color=colour, ms=6, mew=1.4, label=text)
        for (mask, colour, marker), text in zip(_marks(matrix), texts, strict=True)
        if mask.any()
    ]
    if matrix.block_nonfinite.any():
        handles.append(Patch(facecolor=_BAD, label="NaN or Inf in this block"))
    if (np.isnan(matrix.values) & ~matrix.block_nonfinite).any():
        handles.append(Patch(facecolor=_BLANK, label="no gradient"))
    if handles:
        figure.legend(
            handles=handles, loc="center right", bbox_to_anchor=(1 - 0.1 / _WIDTH, y), ncols=len(handles),
            frameon=False, fontsize=8.5, handletextpad=0.4, columnspacing=1.2,
        )  # fmt: skip


def _limits(values: Any) -> tuple[float, float]:
    """Colour limits in log10: all finite values but the lowest outliers, at least one decade, at most six."""
    known = values[np.isfinite(values)]
    if not known.size:
        return 0.0, 1.0
    high = float(known.max())
    low = max(float(np.percentile(known, 0.5)), high - _DECADES)
    return (low, high) if high - low >= 1 else (high - 1, high)


def _visible(matrix: HeatMatrix) -> tuple[Any, Any]:
    """Left and right of each column's marks, never too narrow to be seen."""
    left, right = matrix.edges[:-1].astype(float), matrix.edges[1:].astype(float)
    lack = np.maximum(0.0, 0.0035 * (right[-1] - left[0]) - (right - left)) / 2
    return left - lack, right + lack


def _plain(value: float) -> str:
    """A tick as a plain number while it is short, else as a power."""
    return (
        f"{value:g}"
        if 1e-3 <= value < 1e5
        else f"{value:.0e}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
    )
