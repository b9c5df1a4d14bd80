"""Assesses the runs of a suite: verdicts, comparisons with the control, and summaries.

At any time, memory holds the controls of one task and model as arrays, and one trace.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from yolo_stability.benchmarks.arm_comparison import compare_arms
from yolo_stability.benchmarks.binning import binned, series_frame
from yolo_stability.benchmarks.fitness import (
    Key,
    by_task_and_model,
    finite_or_none,
    fitness_of,
    key_of,
    mean_of_known,
)
from yolo_stability.benchmarks.rows import Arm, Comparison, RunResultRow
from yolo_stability.benchmarks.verdict import classify_run
from yolo_stability.core.findings import Diagnosis, Finding
from yolo_stability.core.types import RunHeader, Trace
from yolo_stability.diagnosis.run_end import DIED
from yolo_stability.trace.arrays import BlockProfile, RunSeries, as_series, median_of
from yolo_stability.trace.digest import trace_digest

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Assessment", "assess", "with_measures"]

Load = Callable[[RunResultRow], Trace | None]

_MOST_FINDINGS, _MOST_CAUSES = 6, 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Assessment:
    """Results of the runs of a suite.

    Attributes:
        runs: Rows with verdicts and measurements, in the order given.
        comparisons: Arms against the control, ordered by task and model as in `runs`, then by arm.
        series: Content of `series.parquet`.
    """

    runs: tuple[RunResultRow, ...]
    comparisons: tuple[Comparison, ...]
    series: pl.DataFrame


def assess(
    arms: Sequence[Arm],
    rows: Iterable[RunResultRow],
    load: Load,
    diagnosed: Mapping[str, Diagnosis] | None = None,
) -> Assessment:
    """Assess all runs of a suite.

    Args:
        arms: All arms. Without a control among them nothing is compared, and no run is classified
            as stable.
        rows: Rows with the facts known before the traces are read: identity, outcome, metrics and
            duration. Other fields are replaced by values from the trace.
        load: Reads the trace of a run and returns None if it has none; called once per run.
        diagnosed: Diagnoses of runs without a trace, by folder.
    """
    rows, diagnosed = list(rows), diagnosed or {}
    names = {arm.name for arm in arms if arm.is_control}
    done: dict[Key, RunResultRow] = {}
    profiles: dict[Key, BlockProfile] = {}
    parts: list[tuple[Key, pl.DataFrame]] = []

    def assess_run(
        row: RunResultRow, controls: Sequence[RunSeries] | None, fitness: float | None
    ) -> RunSeries | None:
        key, trace = key_of(row), load(row)
        digest = None if trace is None else trace_digest(trace)
        series = None if trace is None else as_series(trace)
        header = None if trace is None else trace.header
        trace = None  # frees its tables, which are far larger than the arrays kept for a control
        done[key] = replace(
            with_measures(row, series, controls, fitness, header), trace_digest=digest
        )
        if row.folder in diagnosed:
            done[key] = _with_diagnosis(done[key], diagnosed[row.folder])
        if series is not None:
            profiles[key] = series.profile()
            parts.append((key, binned(series, row.planned_steps)))
        return series

    for group in by_task_and_model(rows).values():
        series = {key_of(row): assess_run(row, None, None) for row in group if row.arm in names}
        usable = {
            key: s for key, s in series.items() if s is not None and done[key].verdict != "failed"
        }
        fitness = mean_of_known(done[key].fitness for key in usable)
        for row in group:
            if row.arm not in names:
                assess_run(row, list(usable.values()), fitness)
    runs = tuple(done[key_of(row)] for row in rows)
    frame = series_frame(parts, [arm.name for arm in arms])
    return Assessment(runs=runs, comparisons=compare_arms(arms, runs, profiles), series=frame)


def with_measures(
    row: RunResultRow,
    trace: Trace | RunSeries | None,
    control: Sequence[RunSeries] | None,
    fitness: float | None,
    header: RunHeader | None = None,
) -> RunResultRow:
    """Return a row with its verdict and the measurements from its trace.

    Args:
        row: Facts known about the run.
        trace: Trace of the run; None if it has none.
        control: Healthy runs of the control; None for a run of the control, which is assessed by
            its own past.
        fitness: Final fitness of the control, if known.
        header: Header of the run, used to determine the cause.
    """
    metrics = {name: value for name, value in row.metrics.items() if math.isfinite(value)}
    own = fitness_of(row) if row.fitness is None else row.fitness
    row = replace(row, metrics=metrics, fitness=own)
    if trace is None:
        died = row.outcome in DIED
        why = f"{DIED[row.outcome]} and left no trace" if died else "the run left no trace"
        return replace(
            row,
            verdict="inconclusive",
            why=why,
            onset_sign="crash" if died else None,
            onset_step=0 if died else None,
            onset_block=None,
        )
    run = as_series(trace)
    controls = [run] if control is None else control
    found = classify_run(
        run, controls, outcome=row.outcome, fitness=own, control_fitness=fitness, header=header
    )
    clipped = run.clip[np.isfinite(run.clip) & np.isfinite(run.norm)]
    return replace(
        row,
        verdict=found.verdict,
        why=found.why,
        learning=found.learning,
        onset_step=found.onset_step,
        onset_sign=found.onset_sign,
        onset_block=found.onset_block,
        cause=found.cause,
        causes=found.causes[:_MOST_CAUSES],
        findings=_most_relevant(found.findings),
        steps=int(run.step.size),
        peak_norm=finite_or_none(np.max(run.norm, where=np.isfinite(run.norm), initial=-np.inf)),
        median_norm=finite_or_none(median_of(run.norm)),
        clip_saturation=float((clipped < 1).mean()) if clipped.size else None,
        skipped=int(run.guard.sum()),
    )


def _with_diagnosis(row: RunResultRow, found: Diagnosis) -> RunResultRow:
    """Return the row of a run without a trace with its diagnosis."""
    return replace(
        row,
        verdict=found.verdict,
        why=found.why,
        learning=found.learning,
        cause=found.cause,
        causes=found.causes[:_MOST_CAUSES],
        findings=_most_relevant(found.findings),
    )


def _most_relevant(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings to include in a report, in chronological order.

    Args:
        findings: All findings, most severe first, then in chronological order.
    """
    first = min((f for f in findings if f.severity != "info"), key=_began, default=None)
    others = [f for f in findings if f is not first]
    kept = others[:_MOST_FINDINGS] if first is None else [first, *others[: _MOST_FINDINGS - 1]]
    finite = [
        replace(f, observed=_finite(f.observed), threshold=_finite(f.threshold)) for f in kept
    ]
    return tuple(sorted(finite, key=lambda f: (f.severity == "info", _began(f))))


def _finite(value: float | None) -> float | None:
    """Return the value, or None if it is not finite, so that results survive a JSON round trip."""
    return None if value is None else finite_or_none(value)


def _began(finding: Finding) -> int:
    return finding.first_step or 0
