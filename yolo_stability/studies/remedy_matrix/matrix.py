"""From runs to the cells of the matrix: what was saved, how much was learned, at which price, and how sure that is.

A run counts as saved if it ended by itself with finite values, its verdict is not `failed`, and it learned at least
half of what the healthy control of the same seed did. Seeds are pairs: a seed whose control is missing or failed
counts nowhere.
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
"""Share of the control's fitness that a run must reach to count as saved."""
MARGIN = 0.1
"""Share of a healthy run's fitness that a recommended remedy may cost."""
ENOUGH_SEEDS = 5
_LEVEL = 0.05
_LOST = ("killed", "timeout", "memory")

BySeed = Mapping[int, RunResultRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeCounts:
    """How the runs of an arm went on one task.

    Attributes:
        seeds: Seeds that count.
        saved: How many of them were saved.
        share: The same as a share, with Wilson's interval.
        fitness: Final fitness over that of the control of the same seed: mean, with bootstrap interval.
        ended_early: Runs that were stopped for a value that is not finite or a loss of zero, or crashed.
        called_failed: Runs whose verdict is `failed`.
        unlearned: Runs that learned less than half of what the control did.
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
    """What a remedy does to a healthy run.

    Attributes:
        remedy: Its scenario.
        task: detect or pose.
        arm: The arm whose runs say so; the control where the remedy sets what holds there anyway.
        own: How its runs went.
        within: Whether it costs no more than the margin; None where nothing was measured.
    """

    remedy: str
    task: str
    arm: str
    own: OutcomeCounts
    within: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemedyCell:
    """A remedy against a cause.

    Attributes:
        cause: Scenario of the cause.
        remedy: Scenario of the remedy.
        task: detect or pose.
        arm: The arm whose runs say so.
        verdict: `recommended`, `costly` (it saves, beyond the margin of the price), `unproven` (no gain that the
            interval tells from none), `anecdotal` (too few seeds), `void` (it changes nothing there) or `missing`.
        replaced: Keys of the cause that the remedy sets anew: as far as they go, it takes the cause back.
        own: How its runs went.
        gain: Share of saved runs minus that of the cause alone, with Newcombe's interval.
        p_value: Boschloo's exact test of both shares; None below two seeds.
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
    """Count how the runs of an arm went.

    Args:
        runs: The arm's runs by seed.
        controls: Those of the healthy control.
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
    """Return whether a run ended by itself, is not called failed, and learned half of what the control did.

    Args:
        run: The run.
        control: The healthy control of the same seed.
    """
    learned = _fitness(run) >= LEARNED * _fitness(control)
    return run.outcome == "finished" and run.verdict != "failed" and learned


def _counts(run: RunResultRow) -> bool:
    """Return whether a run says anything: not if it was ended from outside, or died before its first step."""
    return run.outcome not in _LOST and not (run.outcome == "crashed" and not run.steps)


def _is_healthy(control: RunResultRow) -> bool:
    return control.outcome == "finished" and control.verdict != "failed" and _fitness(control) > 0


def _fitness(run: RunResultRow) -> float:
    """Return what a run has learned; nothing where its validation came to no number."""
    return run.fitness or 0.0


def gain_of(own: OutcomeCounts, alone: OutcomeCounts) -> Interval:
    """Return the share of saved runs minus that of the cause alone, with Newcombe's interval (1998, method 10).

    It is built from both Wilson intervals, so that it stays honest at 0 and 1, where few seeds mostly end.

    Args:
        own: With the remedy.
        alone: Without.
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
        remedy: Its scenario.
        task: detect or pose.
        arm: The arm whose runs were counted.
        own: How they went.
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
    """Return a cell.

    Args:
        cause: Scenario of the cause.
        price: That of the remedy, on the same task.
        arm: The arm whose runs were counted.
        void: The remedy changes nothing there.
        replaced: Keys of the cause that the remedy sets anew.
        own: How the runs with the remedy went.
        alone: How those without went.
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
