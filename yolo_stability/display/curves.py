"""Line panels above the heat map: total norm and loss, with epochs and attempts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from yolo_stability.core.text import brief, number
from yolo_stability.display.style import INK
from yolo_stability.trace.heat_matrix import HeatMatrix

__all__ = ["draw_curves"]

_GRID, _NORM_INK, _LOSS_INK, _ATTEMPT_INK = "#e3e6ea", "#22577a", "#7a5c22", "#8e44ad"
_MAX_EPOCH_LABELS = 16


def draw_curves(norm: Any, loss: Any, matrix: HeatMatrix, clip_norm: float | None) -> None:
    """Draw the total norm and the loss of a run.

    Args:
        norm: Axes of the upper panel.
        loss: Axes of the lower panel.
        matrix: Data to draw, with at least one column.
        clip_norm: Clipping threshold of the run, drawn as a dashed line.
    """
    _draw_line(norm, matrix, matrix.total, "total norm", _NORM_INK, clip_norm)
    _draw_line(loss, matrix, matrix.loss, "loss", _LOSS_INK)
    for axes in (norm, loss):
        axes.set_xlim(matrix.edges[0], matrix.edges[-1])
    _draw_attempts((norm, loss), matrix)
    _draw_epochs((norm, loss), matrix)


def _draw_line(
    axes: Any,
    matrix: HeatMatrix,
    values: Any,
    label: str,
    color: str,
    threshold: float | None = None,
) -> None:
    middle = (matrix.edges[:-1] + matrix.edges[1:]) / 2
    positive = values[values > 0]
    low, high = (positive.min(), positive.max()) if positive.size else (0.1, 1.0)
    if threshold is not None:
        low, high = min(low, threshold), max(high, threshold)
        _draw_clip(axes, threshold)
    if positive.size < np.isfinite(values).sum():
        low /= 4
        # a log scale cannot show zero: draw it at the lower limit
        values = np.where(values <= 0, low / 1.25, values)
    axes.plot(
        middle, values, color=color, lw=1.3, marker="o" if len(values) <= 60 else None, ms=2.6
    )
    axes.set_yscale("log")
    axes.set_ylim(low / 1.25, high * 1.25)
    _tick_log(axes, high / low)
    axes.text(
        -0.06,
        0.5,
        label,
        transform=axes.transAxes,
        ha="right",
        va="center",
        color=color,
        weight="bold",
    )
    axes.tick_params(axis="x", labelbottom=False, length=0)
    axes.grid(axis="y", color=_GRID, lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _tick_log(axes: Any, span: float) -> None:
    """Set decimal ticks, few enough to read, also for values that span less than a decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    axes.yaxis.set_major_locator(
        LogLocator(subs=(1.0,) if span > 300 else (1.0, 2.0, 5.0), numticks=6)
    )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: brief(v, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())


def _draw_clip(axes: Any, clip_norm: float) -> None:
    axes.axhline(clip_norm, color=INK, lw=1, ls=(0, (5, 3)))
    label = f"clip {number(clip_norm)}".removesuffix(".0")
    where = axes.get_yaxis_transform()
    axes.text(1.006, clip_norm, label, transform=where, va="center", size=8, color=INK)


def _draw_attempts(panels: Sequence[Any], matrix: HeatMatrix) -> None:
    """Draw a line where a recovery or a resume began a new attempt."""
    for i, step in enumerate(matrix.attempt_steps, start=2):
        for axes in panels:
            axes.axvline(step, color=_ATTEMPT_INK, lw=1.1)
        panels[0].annotate(
            f"attempt {i}", (step, 1), (3, -2), xycoords=("data", "axes fraction"),
            textcoords="offset points", size=7.5, color=_ATTEMPT_INK, va="top",
        )  # fmt: skip


def _draw_epochs(panels: Sequence[Any], matrix: HeatMatrix) -> None:
    """Label epochs, counted from 1 as Ultralytics prints them, along the upper edge."""
    every = max(1, -(-len(matrix.epochs) // _MAX_EPOCH_LABELS))
    chosen = list(zip(matrix.epoch_steps, matrix.epochs, strict=True))[::every]
    top = panels[0]
    axis = top.secondary_xaxis("top")
    axis.set_xticks([s for s, _ in chosen], [str(e + 1) for _, e in chosen], size=8)
    axis.tick_params(length=3, pad=1)
    axis.spines["top"].set_visible(False)
    top.annotate(
        "epoch",
        (0, 1),
        (-6, 5),
        xycoords="axes fraction",
        textcoords="offset points",
        size=8,
        ha="right",
    )
    for axes in panels:
        for step, _ in chosen:
            axes.axvline(step, color=_GRID, lw=0.6, zorder=0)
