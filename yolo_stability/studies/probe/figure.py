"""Plots probes of several settings side by side."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo_stability.core.files import replace_file
from yolo_stability.core.text import brief, short_name
from yolo_stability.display.picture import png_of
from yolo_stability.display.style import BAD, FAINT, INK, RC
from yolo_stability.studies.probe.result import block_group, blocks_by_group

if TYPE_CHECKING:
    from yolo_stability.studies.probe.result import BlockFlow, ProbeResult

__all__ = ["draw_probe_figure"]

_STOCK = "#9aa1a9"
# The color-blind safe palette of Okabe and Ito, without black and yellow.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
# Inches.
_WIDTH, _HEIGHT, _DPI = 11.0, 7.6, 130
_LEFT, _RIGHT, _TOP, _BOTTOM, _BETWEEN = 0.82, 2.9, 1.02, 1.58, 0.22
_LINE, _ENTRY_GAP, _LABEL_WIDTH = 0.145, 0.11, 34
_GAP = 0.85


def draw_probe_figure(results: Sequence[ProbeResult], path: Path) -> None:
    """Plot the gradients of every setting over depth into one PNG.

    The matplotlib backend, open figures and settings of the user are not changed.

    Args:
        results: Probes of the same model, dataset and seed.
        path: File to write or replace atomically, in an existing folder.

    Raises:
        OSError: The file cannot be written.
    """
    import matplotlib as mpl

    with mpl.rc_context(RC):
        content = png_of(_figure(results), _DPI)
    replace_file(path, content, make_folder=False)


def _figure(results: Sequence[ProbeResult]) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    entries = _entries(results)
    tall = sum(len(entry.lines) * _LINE + _ENTRY_GAP for entry in entries)
    height = max(_HEIGHT, _TOP + tall + 0.3)
    figure = Figure(figsize=(_WIDTH, height))
    FigureCanvasAgg(figure)
    request = results[0].request
    title = (
        f"One batch forward and backward: {Path(str(request.get('model', ''))).stem}, "
        f"{request.get('task', '')}"
    )
    figure.text(_LEFT / _WIDTH, 1 - 0.3 / height, title, size=13, weight="bold", va="center")
    note = ", ".join(
        f"{key} {request[key]}" for key in ("data", "imgsz", "batch", "seed") if key in request
    )
    figure.text(
        _LEFT / _WIDTH,
        1 - 0.57 / height,
        f"before any training; {note}",
        size=9,
        color=FAINT,
        va="center",
    )
    panel = (height - _TOP - _BOTTOM - _BETWEEN) / 2
    wide = (_WIDTH - _LEFT - _RIGHT) / _WIDTH
    lower, upper = (
        figure.add_axes((_LEFT / _WIDTH, bottom / height, wide, panel / height))
        for bottom in (_BOTTOM, _BOTTOM + panel + _BETWEEN)
    )
    for axes, field, label in (
        (upper, "grad_norm", "gradient of the weights"),
        (lower, "output_grad_norm", "gradient at the output"),
    ):
        _draw_lines(axes, results, field)
        axes.set_ylabel(f"{label} (L2)", size=8.5)
    _draw_depth(upper, lower, results[0].blocks)
    _draw_entries(figure, entries, height)
    return figure


def _positions(blocks: Sequence[BlockFlow]) -> list[float]:
    """Return the positions of the blocks, with gaps between the parts of the network."""
    gaps = 0
    found = []
    for i, block in enumerate(blocks):
        gaps += i > 0 and block_group(block.role) != block_group(blocks[i - 1].role)
        found.append(i + _GAP * gaps)
    return found


def _look(results: Sequence[ProbeResult]) -> list[tuple[str, Any]]:
    """Return color and dashes of each setting; stock is gray."""
    looks, number_of = [], 0
    for result in results:
        if not result.settings:
            looks.append((_STOCK, "-"))
            continue
        dashes = _DASHES[number_of // len(_COLORS) % len(_DASHES)]
        looks.append((_COLORS[number_of % len(_COLORS)], dashes))
        number_of += 1
    return looks


def _draw_lines(axes: Any, results: Sequence[ProbeResult], field: str) -> None:
    """Draw a line per setting, split by network parts; non-finite values are crosses on top."""
    axes.set_yscale("log")
    _draw_profile(axes, results[0].reference.blocks, field, _STOCK, "-", 4.0)
    for result, (color, dashes) in zip(results, _look(results), strict=True):
        if result.settings:
            _draw_profile(axes, result.blocks, field, color, dashes, 1.5)
    axes.grid(axis="y", color="#e3e6ea", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    _tick_log(axes)


def _draw_profile(
    axes: Any, blocks: Sequence[BlockFlow], field: str, color: str, dashes: Any, width: float
) -> None:
    places = _positions(blocks)
    values = [getattr(block, field) for block in blocks]
    lost = [
        x
        for x, value in zip(places, values, strict=True)
        if value is not None and not math.isfinite(value)
    ]
    axes.plot(
        lost,
        [0.97] * len(lost),
        "x",
        color=color,
        ms=4.5,
        transform=axes.get_xaxis_transform(),
        clip_on=False,
    )
    end = 0
    for _, members in blocks_by_group(blocks):
        part = slice(end, end + len(members))
        end = part.stop
        shown = [value if value and math.isfinite(value) else math.nan for value in values[part]]
        axes.plot(
            places[part],
            shown,
            color=color,
            ls=dashes,
            lw=width,
            marker="o",
            ms=max(3.0, width),
            mew=0,
        )


def _draw_depth(upper: Any, lower: Any, blocks: Sequence[BlockFlow]) -> None:
    """Label the blocks at the bottom and the parts of the network at the top."""
    places = _positions(blocks)
    for axes in (upper, lower):
        axes.set_xlim(places[0] - 0.6, places[-1] + 0.6)
        axes.set_xticks(places, [])
        axes.tick_params(axis="x", length=2)
    lower.set_xticks(
        places, [short_name(block.name, 22) for block in blocks], rotation=90, size=7.5
    )
    end = 0
    for group, members in blocks_by_group(blocks):
        middle = (places[end] + places[end + len(members) - 1]) / 2
        end += len(members)
        text = group.replace(" ", "\n")
        upper.text(
            middle,
            1.01,
            text,
            transform=upper.get_xaxis_transform(),
            ha="center",
            va="bottom",
            size=8.5,
            weight="bold",
            linespacing=0.95,
        )


def _tick_log(axes: Any) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.yaxis.set_major_locator(LogLocator(numticks=8))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: brief(v, 5)))
    axes.yaxis.set_minor_locator(NullLocator())


@dataclass(frozen=True, slots=True)
class _Entry:
    """The label of a line beside the panels; the last line of its text is the verdict."""

    lines: list[str]
    color: str
    dashes: Any
    alarm: bool


def _entries(results: Sequence[ProbeResult]) -> list[_Entry]:
    """Return the labels of all lines, ordered by their values at the first block."""
    entries = []
    if all(result.settings for result in results):
        entries.append(_Entry(["stock", "the reference"], _STOCK, "-", False))
    pairs = sorted(
        zip(results, _look(results), strict=True), key=lambda pair: _height(pair[0]), reverse=True
    )
    for result, (color, dashes) in pairs:
        verdict = (
            result.verdict if result.measures.finite else f"{result.verdict}: NaN or Inf (crosses)"
        )
        lines = [*textwrap.wrap(result.label, _LABEL_WIDTH), verdict]
        entries.append(_Entry(lines, color, dashes, result.verdict != "healthy"))
    return entries


def _draw_entries(figure: Any, entries: Sequence[_Entry], height: float) -> None:
    """Write setting and verdict of each line to the right of the panels."""
    from matplotlib.lines import Line2D

    left, y = _WIDTH - _RIGHT + 0.12, height - _TOP
    for entry in entries:
        level = [1 - (height - y + _LINE / 2) / height] * 2
        ends = [left / _WIDTH, (left + 0.42) / _WIDTH]
        figure.add_artist(Line2D(ends, level, color=entry.color, ls=entry.dashes, lw=2.2))
        for text in entry.lines:
            last = text is entry.lines[-1]
            color = INK if not last else BAD if entry.alarm else FAINT
            weight = "bold" if last and entry.alarm else "normal"
            x = (left + 0.52) / _WIDTH
            figure.text(
                x, (y - _LINE / 2) / height, text, size=8, color=color, weight=weight, va="center"
            )
            y -= _LINE
        y -= _ENTRY_GAP


def _height(result: ProbeResult) -> float:
    """Return the sort key of a line: the gradient of the first block; non-finite ones first."""
    known = [block.grad_norm for block in result.blocks if block.grad_norm is not None]
    return known[0] if known and math.isfinite(known[0]) else math.inf
