"""What the rescue benchmark found: the content of `rescues.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from yolo_stability.benchmarks.rows import Interval

__all__ = ["CauseCount", "RescueResult"]


Drawn = Literal["seed", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseCount:
    """What became of the failing runs of one cause and task.

    Attributes:
        cause: Name of the arm without remedy; `all` for the sum.
        task: detect or pose; `both` for the sum.
        runs: Runs without remedy.
        failing: Those that failed.
        repairable: Those of them that a remedy by hand repairs.
        auto: Repairable ones that `rescue=auto` repairs.
        tried: Repairable ones for which a random choice was tried, too.
        random: Those of them that it repairs.
        by_hand: How many each remedy repairs by hand.
        auto_all: Failing ones that `rescue=auto` repairs, repairable by hand or not.
        fitness_auto: Median fitness under `rescue=auto` over that of the healthy run, of the failing runs.
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
    """What `rescue.json` holds.

    Attributes:
        schema_version: Of this file.
        counts: By cause and task, then their sum.
        seeds: Seeds of the repairable runs.
        drawn: What the bootstrap draws: `seed`, with all its cases, or `run` where there are fewer than three seeds.
        drawn_tried: The same of the runs for which a random choice was tried, and of the difference.
        auto: Share of the repairable runs that `rescue=auto` repairs, with Wilson's interval, for independent runs.
        random: The same of a random choice, of the runs for which one was tried.
        auto_drawn: The share of auto once more, with its bootstrap interval.
        random_drawn: The same of a random choice.
        difference: Share of auto minus that of random, paired by run, with its bootstrap interval.
        time_ratio: Median seconds in the step loop of a repaired run over those of the healthy run of the same seed.
        price: Of healthy runs with `rescue=auto`: how many, their median fitness over that without, and how many have
            the same trace. Empty without any.
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
