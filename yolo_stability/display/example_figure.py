"""A curve as a small PNG, for the documentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from yolo_stability.core.files import replace_file
from yolo_stability.core.text import brief
from yolo_stability.display.example_curve import ExampleCurve
from yolo_stability.display.picture import png_of
from yolo_stability.display.style import BAD, FAINT, INK, RC

__all__ = ["draw_example"]

_SIZE, _DPI = (6.4, 2.3), 110
_HEALTHY = "#2b8cbe"


def draw_example(curve: ExampleCurve, path: Path) -> None:
    """Draw a curve and that of a healthy run, with the places at which the rule fired shaded.

    Args:
        curve: The curve, with at least one place.
        path: PNG to write or replace atomically.

    Raises:
        OSError: The file cannot be written.
    """
    import matplotlib as mpl

    with mpl.rc_context(RC):
        replace_file(path, png_of(_figure(curve), _DPI), make_folder=False)


def _figure(curve: ExampleCurve) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    figure = Figure(figsize=_SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if curve.healthy is not None:
        axes.plot(curve.places, curve.healthy, color=_HEALTHY, lw=1.2, label="healthy run")
    mark = "o" if curve.places.size <= 40 or np.isfinite(curve.values).sum() < 10 else None
    axes.plot(curve.places, curve.values, color=INK, lw=1.4, marker=mark, ms=3, label="example")
    low, high = curve.limits
    if curve.logarithmic:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.5, high * 1.5)
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(low - 0.05 * (high - low), high + 0.08 * (high - low))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: brief(value)))
    _shade(axes, curve)
    if curve.bad.any():
        at = curve.places[curve.bad]
        axes.scatter(
            at, np.full(at.size, 0.04), marker="x", s=12, c=BAD, lw=0.8,
            transform=axes.get_xaxis_transform(), label="NaN or Inf",
        )  # fmt: skip
    axes.set_title(curve.title, loc="left", size=9, weight="bold")
    axes.set_xlabel(curve.axis, color=FAINT, loc="left")
    axes.set_xlim(curve.places[0] - 0.5, curve.places[-1] + 0.5)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, fontsize=8, ncols=4, loc="outside lower right", borderpad=0)
    return figure


def _shade(axes: Any, curve: ExampleCurve) -> None:
    """Shade each run of consecutive places at which the rule fired."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], curve.fired.astype(int), [0]])))
    for i, (begin, end) in enumerate(zip(edges[::2], edges[1::2], strict=True)):
        label = None if i else "the rule fires"
        left, right = curve.places[begin] - 0.5, curve.places[end - 1] + 0.5
        axes.axvspan(left, right, color=BAD, alpha=0.13, lw=0, label=label)
