"""The result of the rescue benchmark: the content of `rescues.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from yolo_stability.benchmarks.rows import Interval

__all__ = ["CauseCount", "RescueResult"]


Drawn = Literal["seed", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseCount:
    """The counts of repaired runs of one cause and task.

    Attributes:
        cause: Name of the arm without remedy; `all` for the sum.
        task: detect or pose; `both` for the sum.
        runs: Runs without remedy.
        failing: Failing runs among them.
        repairable: Failing runs that at least one manual remedy repairs.
        auto: Repairable runs that `rescue=auto` repairs.
        tried: Repairable runs for which a random choice was also tried.
        random: Runs among those that the random choice repairs.
        by_hand: Failing runs that each manual remedy repairs.
        auto_all: Failing runs that `rescue=auto` repairs, repairable manually or not.
        fitness_auto: Median fitness of failing runs with `rescue=auto`, over that of the healthy
            run.
    """

    cause: str
    task: str
    runs: int
    failing: int
    repairable: int
    auto: int
    tried: int
    random: int
    by_hand: Mapping[str, int]
    auto_all: int
    fitness_auto: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RescueResult:
    """The content of `rescue.json`.

    Attributes:
        schema_version: Schema version of the file.
        counts: Counts by cause and task, then their sum.
        seeds: Number of seeds of the repairable runs.
        drawn: Sampling unit of the bootstrap: `seed` with all its cases, or `run` for fewer than
            three seeds.
        drawn_tried: The same for the runs with a random choice, and for the difference.
        auto: Share of the repairable runs that `rescue=auto` repairs, with the Wilson interval for
            independent runs.
        random: The same for a random choice, over the runs for which it was tried.
        auto_drawn: The share of auto with its bootstrap interval.
        random_drawn: The same for a random choice.
        difference: Share of auto minus that of random, paired by run, with bootstrap interval.
        time_ratio: Median time in the training loop of a repaired run over that of the healthy run
            with the same seed.
        price: Healthy runs with `rescue=auto`: their number, their median fitness over that without
            a rescue, and the number of identical traces. Empty without such runs.
    """

    schema_version: int
    counts: Sequence[CauseCount]
    seeds: int
    drawn: Drawn
    drawn_tried: Drawn
    auto: Interval
    random: Interval
    auto_drawn: Interval
    random_drawn: Interval
    difference: Interval
    time_ratio: float | None
    price: Mapping[str, float]
