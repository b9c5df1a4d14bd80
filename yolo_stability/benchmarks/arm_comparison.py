"""Compares the runs of each arm with those of the control, with confidence intervals."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from yolo_stability.benchmarks.fitness import (
    Key,
    by_task_and_model,
    finite_or_none,
    key_of,
    mean_of_known,
)
from yolo_stability.benchmarks.rows import Arm, BlockRatio, Comparison, Interval, RunResultRow
from yolo_stability.benchmarks.statistics import (
    bootstrap,
    boschloo,
    paired_differences,
    paired_ratios,
    wilson,
)
from yolo_stability.core.text import brief, count
from yolo_stability.trace.arrays import BlockProfile

__all__ = ["compare_arms"]


def compare_arms(
    arms: Sequence[Arm], runs: Sequence[RunResultRow], profiles: Mapping[Key, BlockProfile]
) -> tuple[Comparison, ...]:
    """Compare every arm with the control, on each task and model.

    Args:
        arms: All arms.
        runs: All runs, with their verdicts.
        profiles: Gradient profile along the depth by run; a run without a trace has none.
    """
    control = next((arm.name for arm in arms if arm.is_control), None)
    others = [arm.name for arm in arms if not arm.is_control]
    found = []
    for group in by_task_and_model(runs).values():
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
    """Compare the runs of one arm with those of the control.

    Rates count all runs with a verdict or too short for one; ratios and differences are paired by
    seed.

    Args:
        runs: Runs of the arm.
        control: Runs of the control on the same task and model.
        profiles: Gradient profile along the depth by run.
    """
    seeds, pairs = _pairs(runs, control)
    own, other = [a for a, _ in pairs], [b for _, b in pairs]
    decided, stock = [[r for r in side if r.counts] for side in (runs, control)]
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
        rate=_bounded(wilson(failures, len(decided)), len(decided)),
        control_rate=_bounded(wilson(stock_failures, len(stock)), len(stock)),
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
        clip_saturation=mean_of_known(r.clip_saturation for r in runs),
        blocks=blocks,
        worst_block=_worst(runs, blocks),
        anecdotal=len(decided) < 2,
        sentence="",
        too_early=sum(r.learning == "too_early" for r in decided),
    )
    return replace(drafted, sentence=_sentence(drafted, runs, control))


def _pairs(
    runs: Sequence[RunResultRow], control: Sequence[RunResultRow]
) -> tuple[tuple[int, ...], list[tuple[RunResultRow, RunResultRow]]]:
    """Return the common seeds and the runs paired by seed; if there are none, paired in order."""
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
    """Return the ratio of each block of the arm, in the order of the network."""
    known = [profiles[key_of(run)] for run in runs if key_of(run) in profiles]
    names = dict.fromkeys(name for profile in known for name in profile.names)
    medians = {
        key: dict(zip(p.names, map(finite_or_none, p.medians), strict=True))
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
    """Return the most frequent onset block, or the block that differs most from the control."""
    named = Counter(run.onset_block for run in runs if run.onset_block is not None)
    if named:
        return named.most_common(1)[0][0]
    distances = [(abs(math.log(b.ratio.value)), b.block) for b in blocks if b.ratio.value]
    return max(distances, key=lambda pair: pair[0])[1] if distances else None


def _sentence(
    drafted: Comparison, runs: Sequence[RunResultRow], control: Sequence[RunResultRow]
) -> str:
    """Return a self-contained summary: the result of an arm, its uncertainty and an example."""
    decided = [run for run in runs if run.counts]
    if not decided:
        return f"{drafted.arm} on {drafted.task} is inconclusive: {_example(runs, runs)}."
    stock = [run for run in control if run.counts]
    known, failed = len(decided), drafted.failures
    against = f"control {sum(run.verdict == 'failed' for run in stock)} of {len(stock)}"
    low, high = drafted.rate.low, drafted.rate.high
    if low is None or high is None:
        sure = f"a single run: anecdotal; {against}"
    else:
        p_value = "" if drafted.p_value is None else f", p = {brief(drafted.p_value, 2)}"
        sure = f"95 % interval {100 * low:.0f} % to {100 * high:.0f} %; {against}{p_value}"
    worst = "failed" if failed else "unstable" if drafted.unstable else "stable"
    example = _example([run for run in decided if run.verdict == worst] or decided, runs)
    young = drafted.too_early
    rest = f"; {count(young, 'run')} too short to know whether it learns" if young else ""
    rest += f"; {count(len(runs) - known, 'run')} inconclusive" if known < len(runs) else ""
    head = f"{drafted.arm} on {drafted.task} {_head(drafted, known)}"
    return f"{head} ({sure}): {example}{_fitness(runs, control, example)}{rest}."


def _head(drafted: Comparison, count: int) -> str:
    failed, unstable = drafted.failures, drafted.unstable
    if count == 1:
        verdict = "failed" if failed else "was unstable" if unstable else "did not fail"
        return f"{verdict} in its only run"
    if failed:
        return f"failed in {failed} of {count} runs" + (
            f" and was unstable in {unstable}" if unstable else ""
        )
    if unstable:
        return f"was unstable in {unstable} of {count} runs and failed in none"
    return f"failed in none of {count} runs"


def _example(similar: Sequence[RunResultRow], runs: Sequence[RunResultRow]) -> str:
    """Return the reason for the verdict of a representative run.

    It is the run with the lowest seed among those with the most frequent sign.

    Args:
        similar: Runs with the same verdict.
        runs: All runs of the arm.
    """
    frequent = Counter(run.onset_sign for run in similar).most_common(1)[0][0]
    run = min((run for run in similar if run.onset_sign == frequent), key=lambda run: run.seed)
    return f"in the run with seed {run.seed}, {run.why}" if len(runs) > 1 else run.why


def _fitness(runs: Sequence[RunResultRow], control: Sequence[RunResultRow], example: str) -> str:
    own, stock = (
        mean_of_known(run.fitness for run in runs),
        mean_of_known(run.fitness for run in control),
    )
    if own is None or stock is None or "final fitness" in example:
        return ""
    kind = "final" if len(runs) == 1 else "mean final"
    return f"; {kind} fitness {brief(own)}, control {brief(stock)}"


def _bounded(interval: Interval, count: int) -> Interval:
    """Return an interval without bounds for a single run, which is no measurement of a rate."""
    return interval if count > 1 else Interval(value=interval.value)
