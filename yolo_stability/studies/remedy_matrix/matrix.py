"""Computes the cells of the remedy matrix from runs: saved runs, fitness, price and confidence.

A run counts as saved if it completed with finite values, its verdict is not `failed`, and its
fitness is at least half that of the healthy control with the same seed. Seeds are paired: a seed
whose control is missing or failed is excluded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from yolo_stability.benchmarks.rows import Interval, RunResultRow
from yolo_stability.benchmarks.statistics import bootstrap, boschloo, wilson

__all__ = [
    "ENOUGH_SEEDS",
    "LEARNED",
    "MARGIN",
    "OutcomeCounts",
    "Price",
    "RemedyCell",
    "cell_of",
    "count_outcomes",
    "gain_of",
    "price_of",
]

LEARNED = 0.5
"""Share of the fitness of the control that a run must reach to count as saved."""
MARGIN = 0.1
"""Largest share of the fitness of a healthy run that a recommended remedy may cost."""
ENOUGH_SEEDS = 5
_LEVEL = 0.05
_LOST = ("killed", "timeout", "memory")

BySeed = Mapping[int, RunResultRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeCounts:
    """The outcomes of the runs of an arm on one task.

    Attributes:
        seeds: Seeds that count.
        saved: Number of saved runs.
        share: Share of saved runs, with Wilson interval.
        fitness: Final fitness over that of the control with the same seed: mean, with bootstrap
            interval.
        ended_early: Runs that were stopped for a non-finite value or a loss of zero, or crashed.
        called_failed: Runs with the verdict `failed`.
        unlearned: Runs with less than half the fitness of the control.
    """

    seeds: tuple[int, ...]
    saved: int
    share: Interval
    fitness: Interval
    ended_early: int
    called_failed: int
    unlearned: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The cost of a remedy on a healthy run.

    Attributes:
        remedy: Scenario of the remedy.
        task: detect or pose.
        arm: The measured arm; the control if the remedy changes nothing there.
        own: Outcomes of its runs.
        within: Whether the cost is within the margin; None if not measured.
    """

    remedy: str
    task: str
    arm: str
    own: OutcomeCounts
    within: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemedyCell:
    """The effect of a remedy on a cause.

    Attributes:
        cause: Scenario of the cause.
        remedy: Scenario of the remedy.
        task: detect or pose.
        arm: The measured arm.
        verdict: `recommended`, `costly` (it saves runs, but costs more than the margin), `unproven`
            (the interval of the gain includes 0), `anecdotal` (too few seeds), `void` (the remedy
            changes nothing there) or `missing`.
        replaced: Keys of the cause that the remedy overrides, which undoes that part of the cause.
        own: Outcomes of its runs.
        gain: Share of saved runs minus that of the cause alone, with Newcombe interval.
        p_value: Boschloo's exact test of both shares; None for fewer than two seeds.
    """

    cause: str
    remedy: str
    task: str
    arm: str
    verdict: str
    replaced: tuple[str, ...]
    own: OutcomeCounts
    gain: Interval
    p_value: float | None


def count_outcomes(runs: BySeed, controls: BySeed) -> OutcomeCounts:
    """Count the outcomes of the runs of an arm.

    Args:
        runs: Runs of the arm by seed.
        controls: Runs of the healthy control by seed.
    """
    pairs = [
        (run, controls[seed])
        for seed, run in sorted(runs.items())
        if seed in controls and _counts(run)
    ]
    pairs = [(run, control) for run, control in pairs if _is_healthy(control)]
    shares = [_fitness(run) / _fitness(control) for run, control in pairs]
    saved = sum(is_saved(run, control) for run, control in pairs)
    return OutcomeCounts(
        seeds=tuple(run.seed for run, _ in pairs),
        saved=saved,
        share=wilson(saved, len(pairs)),
        fitness=bootstrap(shares, "mean"),
        ended_early=sum(run.outcome != "finished" for run, _ in pairs),
        called_failed=sum(run.verdict == "failed" for run, _ in pairs),
        unlearned=sum(share < LEARNED for share in shares),
    )


def is_saved(run: RunResultRow, control: RunResultRow) -> bool:
    """Return whether a run completed, did not fail, and reached half the fitness of the control.

    Args:
        run: The run.
        control: The healthy control with the same seed.
    """
    learned = _fitness(run) >= LEARNED * _fitness(control)
    return run.outcome == "finished" and run.verdict != "failed" and learned


def _counts(run: RunResultRow) -> bool:
    """Return whether a run counts: it was not killed from outside and recorded a step."""
    return run.outcome not in _LOST and not (run.outcome == "crashed" and not run.steps)


def _is_healthy(control: RunResultRow) -> bool:
    return control.outcome == "finished" and control.verdict != "failed" and _fitness(control) > 0


def _fitness(run: RunResultRow) -> float:
    """Return the final fitness of a run; 0 if its validation gave no number."""
    return run.fitness or 0.0


def gain_of(own: OutcomeCounts, alone: OutcomeCounts) -> Interval:
    """Return the gain in the share of saved runs, with the interval of Newcombe (1998, method 10).

    The interval combines both Wilson intervals, so that it is valid for shares of 0 and 1, which
    are common with few seeds.

    Args:
        own: Outcomes with the remedy.
        alone: Outcomes of the cause alone.
    """
    a, b = own.share, alone.share
    known = [v for v in (a.value, a.low, a.high, b.value, b.low, b.high) if v is not None]
    if len(known) < 6:
        return Interval(value=None)
    p, p_low, p_high, q, q_low, q_high = known
    return Interval(
        value=p - q,
        low=p - q - math.hypot(p - p_low, q_high - q),
        high=p - q + math.hypot(p_high - p, q - q_low),
    )


def price_of(remedy: str, task: str, arm: str, own: OutcomeCounts) -> Price:
    """Return the price of a remedy.

    Args:
        remedy: Scenario of the remedy.
        task: detect or pose.
        arm: The measured arm.
        own: Outcomes of its runs.
    """
    share = own.fitness.value
    return Price(
        remedy=remedy,
        task=task,
        arm=arm,
        own=own,
        within=None if share is None else share >= 1 - MARGIN,
    )


def cell_of(
    cause: str,
    price: Price,
    *,
    arm: str,
    void: bool,
    replaced: Sequence[str],
    own: OutcomeCounts,
    alone: OutcomeCounts,
) -> RemedyCell:
    """Return the cell of a remedy and a cause.

    Args:
        cause: Scenario of the cause.
        price: Price of the remedy on the same task.
        arm: The measured arm.
        void: Whether the remedy changes nothing there.
        replaced: Keys of the cause that the remedy overrides.
        own: Outcomes with the remedy.
        alone: Outcomes of the cause alone.
    """
    gain = gain_of(own, alone)
    p_value = boschloo(own.saved, len(own.seeds), alone.saved, len(alone.seeds))
    proven = gain.low is not None and gain.low > 0 and p_value is not None and p_value < _LEVEL
    fewest = min(len(own.seeds), len(alone.seeds))
    if void:
        word = "void"
    elif not fewest:
        word = "missing"
    elif fewest < ENOUGH_SEEDS:
        word = "anecdotal"
    elif not proven:
        word = "unproven"
    elif price.within is None or len(price.own.seeds) < ENOUGH_SEEDS:
        word = "anecdotal"
    else:
        word = "recommended" if price.within else "costly"
    return RemedyCell(
        cause=cause,
        remedy=price.remedy,
        task=price.task,
        arm=arm,
        verdict=word,
        replaced=tuple(replaced),
        own=own,
        gain=gain,
        p_value=p_value,
    )
