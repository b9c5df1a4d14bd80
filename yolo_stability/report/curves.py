"""The plotly chart of total gradient norm and loss of an arm and its control, all seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from yolo_stability.benchmarks.rows import RunResultRow
from yolo_stability.core.text import clean, number
from yolo_stability.report.outline import Section
from yolo_stability.report.plotly import (
    ARM,
    BAD,
    CONTROL,
    Chart,
    axis,
    escape_text,
    log_ticks,
    rounded,
)
from yolo_stability.report.run_bins import BinnedRun

__all__ = ["curves_chart"]

_HEIGHT, _EVENT_ROW, _NAME = 430, 22, 28
_DASHES = ("solid", "dash", "dot", "dashdot")

Runs = Sequence[tuple[RunResultRow, BinnedRun]]


def curves_chart(section: Section) -> Chart | None:
    """Return the curves of an arm and its control; None if no step was recorded."""
    control = [(run, s) for run, s in section.control if s is not None and len(s.first)]
    arm = [(run, s) for run, s in section.runs if s is not None and len(s.first)]
    if not arm:
        return None
    sides = [(control, "control", CONTROL)] if control else []
    sides.append((arm, section.arm.name, CONTROL if section.arm.is_control else ARM))
    data: list[dict[str, Any]] = []
    floors: dict[str, float] = {}
    for field, high, y, name in (
        ("norm", "norm_highest", "y", "norm"),
        ("loss", "loss_highest", "y2", "loss"),
    ):
        floors[y] = _floor(getattr(s, field) for runs, _, _ in sides for _, s in runs)
        for runs, label, color in sides:
            data.append(_band(runs, (field, high), (y, floors[y]), color))
            data += [
                _line(run, s, field, (y, floors[y]), (label, color, i, name))
                for i, (run, s) in enumerate(runs)
            ]
    events, rows = _events(sides)
    spans = {y: _span(data, y) for y in floors}
    return Chart(
        id=f"{section.id}-curves",
        label=f"Total gradient norm and loss over the steps, {clean(section.arm.name)} and control",
        height=_HEIGHT + _EVENT_ROW * len(rows),
        variants={"": {"data": data + events, "layout": _layout(rows, spans)}},
    )


def _middle(series: BinnedRun) -> Any:
    return (series.first + series.last) / 2


def _floor(columns: Iterable[Any]) -> float:
    """Return the position of zero on a log scale: a quarter of the smallest positive value."""
    known = np.concatenate([np.asarray(c, dtype=float) for c in columns])
    known = known[np.isfinite(known) & (known > 0)]
    return float(known.min()) / 4 if len(known) else 0.1


def _line(
    run: RunResultRow,
    series: BinnedRun,
    field: str,
    place: tuple[str, float],
    style: tuple[str, str, int, str],
) -> dict[str, Any]:
    y, floor = place
    label, color, i, name = style
    values = getattr(series, field)
    shown = escape_text(label if len(label) <= _NAME else f"{label[: _NAME - 1]}…")
    return {
        "type": "scatter",
        "mode": "lines+markers" if np.isfinite(values).sum() < 8 else "lines",
        "x": rounded(_middle(series)),
        "y": rounded(np.where(values == 0, floor, values)),
        "text": [number(v if np.isfinite(v) else None) for v in values.tolist()],
        "xaxis": "x",
        "yaxis": y,
        "line": {"color": color, "width": 1.8, "dash": _DASHES[i % len(_DASHES)]},
        "marker": {"size": 5},
        "name": f"{shown}, seed {run.seed}",
        "showlegend": y == "y",
        "legendgroup": f"{escape_text(label)} {run.seed}",
        "hovertemplate": f"{shown}, seed {run.seed}<br>"
        f"step %{{x:.0f}}: {name} %{{text}}<extra></extra>",
    }


def _band(
    runs: Runs, fields: tuple[str, str], place: tuple[str, float], color: str
) -> dict[str, Any]:
    """Return a band from the smallest median to the largest single step over all seeds."""
    low_of, high_of = fields
    y, floor = place
    cells: dict[float, list[float]] = {}
    for _, series in runs:
        for x, low, high in zip(
            _middle(series).tolist(),
            getattr(series, low_of).tolist(),
            getattr(series, high_of).tolist(),
            strict=True,
        ):
            cells.setdefault(x, []).extend(max(v, floor) for v in (low, high) if np.isfinite(v))
    xs: list[float | None] = []
    ys: list[float | None] = []
    for stretch in _stretches(cells):
        lows, highs = [min(cells[x]) for x in stretch], [max(cells[x]) for x in stretch]
        xs += [*stretch, *reversed(stretch), None]
        ys += [*rounded(lows), *rounded(highs[::-1]), None]
    return {
        "type": "scatter",
        "mode": "none",
        "x": xs,
        "y": ys,
        "fill": "toself",
        "fillcolor": color.replace(")", "-band)"),
        "xaxis": "x",
        "yaxis": y,
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _stretches(cells: dict[float, list[float]]) -> list[list[float]]:
    """Return the stretches of adjacent bins with values."""
    found: list[list[float]] = [[]]
    for x in sorted(cells):
        if cells[x]:
            found[-1].append(x)
        elif found[-1]:
            found.append([])
    return [stretch for stretch in found if stretch]


def _events(sides: Sequence[tuple[Runs, str, str]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the marks of skipped and non-finite steps, one row per run, and the row names."""
    rows: list[str] = []
    traces: dict[str, dict[str, Any]] = {}
    for runs, label, _ in sides:
        for run, series in runs:
            marks = (
                ("skipped", series.skipped > 0),
                ("NaN or Inf", (series.nonfinite > 0) & (series.skipped == 0)),
            )
            if any(mask.any() for _, mask in marks):
                rows.append(f"{escape_text(label[:_NAME])} {run.seed}")
            for kind, mask in marks:
                if mask.any():
                    trace = traces.setdefault(kind, _event_trace(kind))
                    trace["x"] += rounded(_middle(series)[mask])
                    trace["y"] += [len(rows) - 1] * int(mask.sum())
    return list(traces.values()), rows


def _event_trace(kind: str) -> dict[str, Any]:
    symbol = "triangle-down" if kind == "skipped" else "x"
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [],
        "y": [],
        "xaxis": "x",
        "yaxis": "y3",
        "marker": {
            "symbol": symbol,
            "size": 9,
            "color": "var(--skip)" if kind == "skipped" else BAD,
        },
        "name": "skipped by the guard" if kind == "skipped" else kind,
        "hovertemplate": f"step %{{x:.0f}}: {kind}<extra></extra>",
    }


def _span(data: Sequence[dict[str, Any]], y: str) -> tuple[float, float]:
    """Return the log10 of the smallest and largest value of a panel."""
    known = [
        v for trace in data if trace["yaxis"] == y for v in trace["y"] if v is not None and v > 0
    ]
    return (float(np.log10(min(known))), float(np.log10(max(known)))) if known else (0.0, 1.0)


def _layout(rows: list[str], spans: dict[str, tuple[float, float]]) -> dict[str, Any]:
    """Return the layout: two panels, and a strip for events below them if there are any."""
    strip = min(0.3, 0.06 * len(rows) + 0.02) if rows else 0.0
    middle = strip + (1 - strip) / 2
    layout: dict[str, Any] = {
        "xaxis": axis(
            title={"text": "optimizer step"}, anchor="y3" if rows else "y2", rangemode="tozero"
        ),
        "yaxis": axis(
            **log_ticks(*spans["y"]), title={"text": "total norm"}, domain=[middle + 0.03, 1]
        ),
        "yaxis2": axis(
            **log_ticks(*spans["y2"]),
            title={"text": "loss"},
            domain=[strip + (0.03 if rows else 0), middle - 0.03],
        ),
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "hovermode": "closest",
    }
    if rows:
        layout["yaxis3"] = axis(
            domain=[0, strip],
            tickvals=list(range(len(rows))),
            ticktext=rows,
            range=[-0.6, len(rows) - 0.4],
            showgrid=False,
        )
    return layout
