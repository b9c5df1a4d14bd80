"""Runs of a suite to verdicts, comparisons with the control, and sentences about them.

Memory holds the controls of one task and model as arrays, and one trace at a time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from yolo_stability.benchmarks.binning import binned, series_frame
from yolo_stability.benchmarks.results import Arm, BlockRatio, Comparison, Interval, RunResultRow
from yolo_stability.benchmarks.statistics import (
    bootstrap,
    boschloo,
    paired_differences,
    paired_ratios,
    wilson,
)
from yolo_stability.benchmarks.verdict import classify_run
from yolo_stability.core.findings import Finding
from yolo_stability.core.text import brief, times
from yolo_stability.core.types import RunHeader, Trace
from yolo_stability.diagnosis.diagnose import DIED
from yolo_stability.trace.arrays import BlockProfile, RunSeries, as_series, median_of
from yolo_stability.trace.digest import trace_digest

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "Assessment",
    "Key",
    "assess",
    "compare_arms",
    "final_fitness",
    "fitness_of",
    "key_of",
    "with_measures",
]

Key = tuple[str, str, str, int]
Load = Callable[[RunResultRow], Trace | None]

_MOST_FINDINGS, _MOST_CAUSES = 6, 3
_FITNESS = {"detect": "metrics/mAP50(B)", "pose": "metrics/mAP50(P)"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Assessment:
    """What the runs of a suite come to.

    Attributes:
        runs: The rows with verdict and numbers, in the order in which they came.
        comparisons: Arms against the control, by task and model in the order of the runs, arms in their order.
        series: What `series.parquet` holds.
    """

    runs: tuple[RunResultRow, ...]
    comparisons: tuple[Comparison, ...]
    series: pl.DataFrame


def assess(arms: Sequence[Arm], rows: Iterable[RunResultRow], load: Load) -> Assessment:
    """Assess all runs of a suite.

    Args:
        arms: All arms; one of them the control, or nothing is compared and nothing called stable.
        rows: What is known of each run before its trace is read: who it is, how its process ended, metrics, seconds.
            Whatever else they hold is replaced where a trace tells it.
        load: Reads the trace of a run; None when it has none. Called once per run.
    """
    rows = list(rows)
    names = {arm.name for arm in arms if arm.is_control}
    done: dict[Key, RunResultRow] = {}
    profiles: dict[Key, BlockProfile] = {}
    parts: list[tuple[Key, pl.DataFrame]] = []

    def judge(
        row: RunResultRow, controls: Sequence[RunSeries] | None, fitness: float | None
    ) -> RunSeries | None:
        key, trace = key_of(row), load(row)
        digest = None if trace is None else trace_digest(trace)
        series = None if trace is None else as_series(trace)
        header = None if trace is None else trace.header
        trace = None  # its tables are far larger than the arrays, which live on for a control
        done[key] = replace(
            with_measures(row, series, controls, fitness, header), trace_digest=digest
        )
        if series is not None:
            profiles[key] = series.profile()
            parts.append((key, binned(series, row.planned_steps)))
        return series

    for group in _grouped(rows).values():
        series = {key_of(row): judge(row, None, None) for row in group if row.arm in names}
        usable = {
            key: s for key, s in series.items() if s is not None and done[key].verdict != "failed"
        }
        fitness = _mean(done[key].fitness for key in usable)
        for row in group:
            if row.arm not in names:
                judge(row, list(usable.values()), fitness)
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
    """Return a row with its verdict and the numbers of its trace.

    Args:
        row: What is known of the run.
        trace: Its trace; None when it has none.
        control: Runs of the control that went well; None for a run of the control, which is judged by its own past.
        fitness: Final fitness of the control, if known.
        header: Its settings, for the cause.
    """
    metrics = {name: value for name, value in row.metrics.items() if math.isfinite(value)}
    own = fitness_of(row) if row.fitness is None else row.fitness
    row = replace(row, metrics=metrics, fitness=own)
    if trace is None:
        died = row.outcome in DIED
        why = f"{DIED[row.outcome]} and left no trace" if died else "the run left no trace"
        word, sign = ("failed", "crash") if died else ("inconclusive", None)
        return replace(
            row,
            verdict=word,
            why=why,
            onset_sign=sign,
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
        onset_step=found.onset_step,
        onset_sign=found.onset_sign,
        onset_block=found.onset_block,
        cause=found.cause,
        causes=found.causes[:_MOST_CAUSES],
        findings=_telling(found.findings),
        steps=int(run.step.size),
        peak_norm=_finite_or_none(np.max(run.norm, where=np.isfinite(run.norm), initial=-np.inf)),
        median_norm=_finite_or_none(median_of(run.norm)),
        clip_saturation=float((clipped < 1).mean()) if clipped.size else None,
        skipped=int(run.guard.sum()),
    )


def _telling(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings that a report has room for, as they came in time.

    Args:
        findings: All of them, most severe first, then in time.
    """
    first = min((f for f in findings if f.severity != "info"), key=_began, default=None)
    others = [f for f in findings if f is not first]
    kept = others[:_MOST_FINDINGS] if first is None else [first, *others[: _MOST_FINDINGS - 1]]
    finite = [
        replace(f, observed=_finite(f.observed), threshold=_finite(f.threshold)) for f in kept
    ]
    return tuple(sorted(finite, key=lambda f: (f.severity == "info", _began(f))))


def _finite(value: float | None) -> float | None:
    """Return a number that JSON can hold, so that a result is the same before and after it was written."""
    return None if value is None else _finite_or_none(value)


def _began(finding: Finding) -> int:
    return finding.first_step or 0


def fitness_of(row: RunResultRow) -> float | None:
    """Return the task's own mAP50 at the end; 0 for a run that died, None where no validation told it."""
    return final_fitness(row.task, row.outcome, row.metrics)


def final_fitness(task: str, outcome: str, metrics: Mapping[str, float | None]) -> float | None:
    """Return the same of a run that has no row yet.

    Args:
        task: detect or pose.
        outcome: How it ended, as `RunResultRow.outcome` has it.
        metrics: Its final metrics by name.
    """
    if outcome in DIED:
        return 0.0
    value = metrics.get(_FITNESS.get(task, _FITNESS["detect"]))
    return value if value is not None and math.isfinite(value) else None


def key_of(row: RunResultRow) -> Key:
    """Return arm, task, model and seed of a run."""
    return row.arm, row.task, row.model, row.seed


def compare_arms(
    arms: Sequence[Arm], runs: Sequence[RunResultRow], profiles: Mapping[Key, BlockProfile]
) -> tuple[Comparison, ...]:
    """Compare every arm with the control, on each task and model.

    Args:
        arms: All arms.
        runs: All runs, with their verdicts.
        profiles: Gradients along the depth by run; a run without trace has none.
    """
    control = next((arm.name for arm in arms if arm.is_control), None)
    others = [arm.name for arm in arms if not arm.is_control]
    found = []
    for group in _grouped(runs).values():
        stock = [run for run in group if run.arm == control]
        for name in others if stock else ():
            own = [run for run in group if run.arm == name]
            if own:
                found.append(_comparison(own, stock, profiles))
    return tuple(found)


def _comparison(
    runs: Sequence[RunResultRow],
    control: Sequence[RunResultRow],
    profiles: Mapping[Key, BlockProfile],
) -> Comparison:
    """Compare the runs of one arm with those of the control; rates count all that have a verdict, ratios are paired."""
    seeds, pairs = _pairs(runs, control)
    own, other = [a for a, _ in pairs], [b for _, b in pairs]
    decided, stock = [[r for r in side if r.verdict != "inconclusive"] for side in (runs, control)]
    failures, stock_failures = (
        sum(r.verdict == "failed" for r in side) for side in (decided, stock)
    )
    blocks = _blocks(runs, pairs, profiles)
    onsets = [None if r.onset_step is None else float(r.onset_step) for r in runs]
    drafted = Comparison(
        arm=runs[0].arm,
        task=runs[0].task,
        model=runs[0].model,
        seeds=seeds,
        failures=failures,
        unstable=sum(r.verdict == "unstable" for r in decided),
        rate=_sure(wilson(failures, len(decided)), len(decided)),
        control_rate=_sure(wilson(stock_failures, len(stock)), len(stock)),
        p_value=boschloo(failures, len(decided), stock_failures, len(stock)),
        onset=bootstrap(onsets),
        peak_ratio=bootstrap(
            paired_ratios([r.peak_norm for r in own], [r.peak_norm for r in other])
        ),
        median_ratio=bootstrap(
            paired_ratios([r.median_norm for r in own], [r.median_norm for r in other])
        ),
        fitness_difference=bootstrap(
            paired_differences([r.fitness for r in own], [r.fitness for r in other]), "mean"
        ),
        clip_saturation=_mean(r.clip_saturation for r in runs),
        blocks=blocks,
        worst_block=_worst(runs, blocks),
        anecdotal=len(decided) < 2,
        sentence="",
    )
    return replace(drafted, sentence=_sentence(drafted, runs, control))


def _pairs(
    runs: Sequence[RunResultRow], control: Sequence[RunResultRow]
) -> tuple[tuple[int, ...], list[tuple[RunResultRow, RunResultRow]]]:
    """Return the seeds that both have and the runs paired by them; without any in common, paired in their order."""
    stock = {run.seed: run for run in control}
    pairs = sorted(
        ((run, stock[run.seed]) for run in runs if run.seed in stock), key=lambda pair: pair[0].seed
    )
    return tuple(run.seed for run, _ in pairs), pairs or list(zip(runs, control, strict=False))


def _blocks(
    runs: Sequence[RunResultRow],
    pairs: Sequence[tuple[RunResultRow, RunResultRow]],
    profiles: Mapping[Key, BlockProfile],
) -> tuple[BlockRatio, ...]:
    """Return the ratio of each block that the arm has, in the order of the network."""
    known = [profiles[key_of(run)] for run in runs if key_of(run) in profiles]
    names = dict.fromkeys(name for profile in known for name in profile.names)
    medians = {
        key: dict(zip(p.names, map(_finite_or_none, p.medians), strict=True))
        for key, p in profiles.items()
    }
    broken = Counter(
        name for p in known for name, bad in zip(p.names, p.nonfinite, strict=True) if bad
    )
    result = []
    for index, name in enumerate(names):
        values = [
            [medians.get(key_of(run), {}).get(name) for run in side]
            for side in zip(*pairs, strict=True)
        ]
        ratio = bootstrap(paired_ratios(values[0], values[1])) if values else Interval(value=None)
        result.append(BlockRatio(block=name, index=index, ratio=ratio, nonfinite_runs=broken[name]))
    return tuple(result)


def _worst(runs: Sequence[RunResultRow], blocks: Sequence[BlockRatio]) -> str | None:
    """Return the block in which most runs first went wrong, else the one farthest from the control."""
    named = Counter(run.onset_block for run in runs if run.onset_block is not None)
    if named:
        return named.most_common(1)[0][0]
    distances = [(abs(math.log(b.ratio.value)), b.block) for b in blocks if b.ratio.value]
    return max(distances, key=lambda pair: pair[0])[1] if distances else None


def _sentence(
    drafted: Comparison, runs: Sequence[RunResultRow], control: Sequence[RunResultRow]
) -> str:
    """Say how an arm did, how sure that is, and what was seen, for a reader who was not there."""
    decided = [run for run in runs if run.verdict != "inconclusive"]
    if not decided:
        return f"{drafted.arm} on {drafted.task}: nothing can be said about it, since {_told(runs, runs)}."
    stock = [run for run in control if run.verdict != "inconclusive"]
    count, failed = len(decided), drafted.failures
    against = f"control {sum(run.verdict == 'failed' for run in stock)} of {len(stock)}"
    low, high = drafted.rate.low, drafted.rate.high
    if low is None or high is None:
        sure = f"one run only: anecdotal; {against}"
    else:
        p_value = "" if drafted.p_value is None else f", p = {brief(drafted.p_value, 2)}"
        sure = f"95 % interval {100 * low:.0f} % to {100 * high:.0f} %; {against}{p_value}"
    worst = "failed" if failed else "unstable" if drafted.unstable else "stable"
    told = _told([run for run in decided if run.verdict == worst], runs)
    rest = f"; {times(len(runs) - count, 'run')} inconclusive" if count < len(runs) else ""
    head = f"{drafted.arm} on {drafted.task} {_head(drafted, count)}"
    return f"{head} ({sure}): {told}{_fitness(runs, control, told)}{rest}."


def _head(drafted: Comparison, count: int) -> str:
    failed, unstable = drafted.failures, drafted.unstable
    if count == 1:
        return f"{'failed' if failed else 'was unstable' if unstable else 'did not fail'} in its only run"
    if failed:
        return f"failed in {failed} of {count} runs" + (
            f" and was unstable in {unstable}" if unstable else ""
        )
    if unstable:
        return f"was unstable in {unstable} of {count} runs and failed in none"
    return f"failed in none of {count} runs"


def _told(alike: Sequence[RunResultRow], runs: Sequence[RunResultRow]) -> str:
    """Return what was seen in the run that stands for those alike: of the most frequent sign, the lowest seed."""
    frequent = Counter(run.onset_sign for run in alike).most_common(1)[0][0]
    run = min((run for run in alike if run.onset_sign == frequent), key=lambda run: run.seed)
    return f"in the run with seed {run.seed}, {run.why}" if len(runs) > 1 else run.why


def _fitness(runs: Sequence[RunResultRow], control: Sequence[RunResultRow], told: str) -> str:
    own, stock = _mean(run.fitness for run in runs), _mean(run.fitness for run in control)
    if own is None or stock is None or "final fitness" in told:
        return ""
    return f"; {'final' if len(runs) == 1 else 'mean final'} fitness {brief(own)}, that of the control {brief(stock)}"


def _grouped(rows: Iterable[RunResultRow]) -> dict[tuple[str, str], list[RunResultRow]]:
    """Return runs by task and model, in the order in which these first come."""
    groups: dict[tuple[str, str], list[RunResultRow]] = {}
    for row in rows:
        groups.setdefault((row.task, row.model), []).append(row)
    return groups


def _sure(interval: Interval, count: int) -> Interval:
    """Return an interval without bounds where one run is all there is: it would suggest a measurement."""
    return interval if count > 1 else Interval(value=interval.value)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _finite_or_none(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
