"""The plotly heat maps and depth profiles of an arm and its control."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from yolo_stability.core.text import clean, number
from yolo_stability.display.style import ZERO
from yolo_stability.report.moments import Moment, Pair, moments, pairs
from yolo_stability.report.outline import Section
from yolo_stability.report.plotly import (
    ARM,
    BAD,
    CONTROL,
    Chart,
    axis,
    log_ticks,
    rounded,
    shown_name,
)
from yolo_stability.report.run_bins import BinnedRun, Key

__all__ = ["Grids", "color_limits", "depth_charts", "heat_charts", "own_steps", "steps_shown"]

_ROW, _HEAT_FRAME, _DEPTH_FRAME = 20, 130, 70
_MAX_CROSSES = 300
_DECADES = 10  # maximum decades of the color scale above and below the median of the control
_SHORT = 0.35  # runs that ended before this share of the planned steps are shown enlarged


class Grids:
    """The matrices of all runs, each stored once even if several charts show it."""

    def __init__(self, names: dict[int, str]) -> None:
        self._names = names
        self.content: dict[str, dict[str, Any]] = {}

    @classmethod
    def of(cls, series: dict[Key, BinnedRun]) -> Grids:
        """Return an empty store for the given series."""
        return cls({id(item): f"r{i}" for i, item in enumerate(series.values())})

    def add(self, series: BinnedRun) -> str:
        """Store a run and return its key for the script of the page."""
        name = self._names[id(series)]
        if name not in self.content:
            self.content[name] = _grid(series)
        return name


def _grid(series: BinnedRun) -> dict[str, Any]:
    """Return bin edges, log10 of the norms, and an overlay: 1 for NaN or Inf, 0 for a norm of 0."""
    values, bad = series.block_norm, series.block_nonfinite > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log10(values)
    over = [
        [1 if b else 0 if v == 0 else None for v, b in zip(*rows, strict=True)]
        for rows in zip(values, bad, strict=True)
    ]
    return {
        "x": rounded([*(series.first - 0.5), series.last[-1] + 0.5]) if len(series.first) else [],
        "z": [rounded(np.round(row, 3)) for row in log],
        "over": over if any(cell is not None for row in over for cell in row) else None,
    }


def heat_charts(section: Section, grids: Grids) -> list[Chart]:
    """Return the heat maps of the control, if any, and of the arm, with one variant per seed."""
    found = pairs(section)
    if not found:
        return []
    sides: dict[str, dict[str, Any]] = {"control": {}, "arm": {}}
    rows = 1
    for pair in found:
        shown = {"control": pair.control, "arm": pair.series}
        known = [s for s in shown.values() if s is not None]
        limits, skips = color_limits(pair), any((s.skipped > 0).any() for s in known)
        rows = max(rows, *(len(s.blocks) + skips for s in known))
        for side, series in shown.items():
            if series is not None:
                layout = _heat_layout(series, pair, skips)
                sides[side][str(pair.run.seed)] = {
                    "data": _heat_data(series, limits, grids.add(series)),
                    "layout": layout,
                }
    name = clean(section.arm.name)
    return [
        Chart(
            id=f"{section.id}-heat-{side}",
            label=(
                "Heat map of gradient norms, blocks by steps: "
                f"{'the control' if side == 'control' else name}"
            ),
            height=_HEAT_FRAME + _ROW * rows,
            variants=variants,
        )
        for side, variants in sides.items()
        if variants
    ]


def color_limits(pair: Pair) -> tuple[float, float]:
    """Return the log10 limits of the color scale that control and arm share."""
    both = [s.block_norm for s in (pair.control, pair.series) if s is not None]
    first, every = both[0], np.concatenate([matrix.ravel() for matrix in both])
    every, first = (v[np.isfinite(v) & (v > 0)] for v in (every, first.ravel()))
    if not len(every):
        return 0.0, 1.0
    middle = float(np.log10(np.median(first if len(first) else every)))
    low, high = float(np.log10(every.min())), float(np.log10(every.max()))
    low, high = max(low, middle - _DECADES), min(high, middle + _DECADES)
    return (low, high) if high - low >= 1 else (high - 1, high)


def steps_shown(pair: Pair) -> tuple[float, float, bool]:
    """Return the first and last step of the shared axis, and whether the control is cut off."""
    last = float(pair.series.last[-1])
    whole = max(last, float(pair.control.last[-1]) if pair.control is not None else last)
    short = last < _SHORT * whole
    return 0.5, (2 * last if short else whole) + 0.5, short


def own_steps(pair: Pair) -> bool:
    """Return whether control and arm have such different step counts that each has its own axis."""
    return pair.control is not None and float(pair.control.last[-1]) < _SHORT * float(
        pair.series.last[-1]
    )


def _heat_layout(series: BinnedRun, pair: Pair, skips: bool) -> dict[str, Any]:
    count = len(series.blocks)
    ticks, names = list(range(count)), [shown_name(block) for block in series.blocks]
    if skips:
        ticks, names = [-1, *ticks], ["skipped", *names]
    start, end, _ = steps_shown(pair)
    end = float(series.last[-1]) + 0.5 if own_steps(pair) else end
    return {
        "xaxis": axis(title={"text": "optimizer step"}, range=[start, end], showgrid=False),
        "yaxis": axis(
            tickvals=ticks,
            ticktext=names,
            range=[count - 0.5, -1.6 if skips else -0.5],
            showgrid=False,
        ),
        "plot_bgcolor": "var(--blank)",
        "showlegend": False,
    }


def _heat_data(series: BinnedRun, limits: tuple[float, float], grid: str) -> list[dict[str, Any]]:
    low, high = limits
    ticks = log_ticks(low, high)
    inside = [
        (p, t)
        for p, t in zip(np.log10(ticks["tickvals"]), ticks["ticktext"], strict=True)
        if low <= p <= high
    ]
    bar = {
        "tickvals": [float(p) for p, _ in inside],
        "ticktext": [t for _, t in inside],
        "orientation": "h",
        "thickness": 10,
        "y": 1.0,
        "yanchor": "bottom",
        "x": 0,
        "xanchor": "left",
        "len": 1,
        "outlinewidth": 0,
        "ticks": "",
    }
    data: list[dict[str, Any]] = [
        {
            "type": "heatmap",
            "grid": grid,
            "layer": "z",
            "zmin": low,
            "zmax": high,
            "colorscale": "Viridis",
            "colorbar": bar,
            "hoverongaps": False,
        },
        {
            "type": "heatmap",
            "grid": grid,
            "layer": "over",
            "zmin": 0,
            "zmax": 1,
            "colorscale": [[0, ZERO], [1, BAD]],
            "showscale": False,
            "hoverongaps": False,
        },
    ]
    middle = (series.first + series.last) / 2
    row, column = np.nonzero(series.block_nonfinite > 0)
    if 0 < len(row) <= _MAX_CROSSES:
        data.append(_marks(middle[column], row, "x-thin", "#ffffff", "NaN or Inf"))
    skipped = series.skipped > 0
    if skipped.any():
        where = np.full(int(skipped.sum()), -1)
        data.append(
            _marks(middle[skipped], where, "triangle-down", "var(--skip)", "skipped by the guard")
        )
    return data


def _marks(x: Any, y: Any, symbol: str, color: str, label: str) -> dict[str, Any]:
    width = 1.5 if symbol.endswith("thin") else 0  # a thin symbol consists only of its line
    return {
        "type": "scatter",
        "mode": "markers",
        "x": rounded(x),
        "y": [int(v) for v in y],
        "marker": {
            "symbol": symbol,
            "size": 7,
            "color": color,
            "line": {"color": color, "width": width},
        },
        "hovertemplate": f"step %{{x:.0f}}: {label}<extra></extra>",
    }


def depth_charts(section: Section) -> list[Chart]:
    """Return the depth profiles: one chart per moment, with one variant per seed."""
    found = pairs(section)
    by_seed = {pair.run.seed: moments(pair) for pair in found}
    names = list(
        dict.fromkeys(
            m.name
            for name in ("start", "onset", "end")
            for ms in by_seed.values()
            for m in ms
            if m.name == name
        )
    )
    charts = []
    for name in names:
        variants = {}
        for pair in found:
            here = [m for m in by_seed[pair.run.seed] if m.name == name]
            limits = _norm_range(by_seed[pair.run.seed])
            if here:
                variants[str(pair.run.seed)] = _profile(pair, here[0], limits, section)
        charts.append(
            Chart(
                id=f"{section.id}-depth-{name}",
                label=f"Gradient norm along the depth, {clean(section.arm.name)}, {name}",
                height=_DEPTH_FRAME + _ROW * max(len(pair.series.blocks) for pair in found),
                variants=variants,
            )
        )
    return charts


def _norm_range(shown: Sequence[Moment]) -> tuple[float, float]:
    """Return the log10 limits that all moments of a seed share; zero is drawn a decade below."""
    values = np.concatenate([v for m in shown for v in (m.norms, m.control) if v is not None])
    known = values[np.isfinite(values) & (values > 0)]
    low, high = (
        (float(np.log10(known.min())), float(np.log10(known.max()))) if len(known) else (0.0, 1.0)
    )
    return low - (1.0 if (values == 0).any() else 0.2), high + 0.2 + 0.04 * (high - low)


def _profile(
    pair: Pair, moment: Moment, limits: tuple[float, float], section: Section
) -> dict[str, Any]:
    low, high = limits
    blocks = pair.series.blocks
    own = CONTROL if section.arm.is_control else ARM
    data = (
        [_profile_line(moment.control, low, "control", CONTROL, "circle-open")]
        if moment.control is not None
        else []
    )
    data.append(_profile_line(moment.norms, low, "this arm", own, "circle"))
    bad = np.flatnonzero(moment.nonfinite)
    if len(bad):
        place = 10.0 ** min(high - 0.02 * (high - low), 300.0)
        data.append(_marks(np.full(len(bad), place), bad, "x", BAD, "NaN or Inf"))
        data[-1]["hovertemplate"] = "NaN or Inf<extra></extra>"
    return {
        "title": moment.title,
        "data": data,
        "layout": {
            "xaxis": axis(
                **log_ticks(low, high), title={"text": "gradient norm"}, range=[low, high]
            ),
            "yaxis": axis(
                tickvals=list(range(len(blocks))),
                ticktext=[shown_name(b) for b in blocks],
                range=[len(blocks) - 0.5, -0.5],
            ),
            "showlegend": False,
        },
    }


def _profile_line(values: Any, low: float, name: str, color: str, symbol: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "y": list(range(len(values))),
        "x": rounded(np.where(values == 0, 10.0**low, values)),
        "text": [number(v if np.isfinite(v) else None) for v in values.tolist()],
        "line": {
            "color": color,
            "width": 1.8,
            "dash": "dash" if symbol == "circle-open" else "solid",
        },
        "marker": {"size": 6, "symbol": symbol},
        "hovertemplate": f"{name}: %{{text}}<extra></extra>",
    }
