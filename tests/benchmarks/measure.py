"""Interleaved timing and what follows from it: paired medians with 95 % intervals.

Costs that come now and then (sampled updates, healthy snapshots, rules, flushes) vanish in a plain median. So the
turns of a variant are sorted by what happened in them, each kind gets its own paired median, and these are weighed by
how often the kind comes in a long run.
"""

from __future__ import annotations

import gc
import math
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from stepping import Stepper
from variants import AGAIN, FLUSH_SECONDS, FULL, GUARDED, OURS, STOCK, Variant

DENSE_STEPS = 50  # UpdateSampler measures every one of the first 50 steps
SAMPLED_EVERY, SNAPSHOT_EVERY, RULES_EVERY = 10, 32, 16
DRAWS = 2000
FIRST = f"{FULL}, first {DENSE_STEPS} steps"


@dataclass(frozen=True)
class Sample:
    """One turn: its round, what was special about it, wall and CPU milliseconds a step."""

    round: int
    label: str
    wall: float
    cpu: float


@dataclass(frozen=True)
class Estimate:
    """A paired median ratio with its 95 % interval."""

    ratio: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table; milliseconds a step."""

    variant: str
    wall: Estimate
    cpu: Estimate
    added_ms: float
    turns: int


class Interleaver:
    """Lets variants take turns in one process, in a new order each round."""

    def __init__(
        self, stepper: Stepper, variants: Sequence[Variant], *, turn: int = 1, peers_every: int = 4
    ) -> None:
        self.stepper, self.variants, self.turn_steps, self.peers_every = (
            stepper,
            list(variants),
            turn,
            peers_every,
        )
        self.samples: dict[str, list[Sample]] = {variant.name: [] for variant in variants}
        self.dense_rounds = self._warmed = 0
        self._order = np.random.Generator(np.random.PCG64(0))
        self.flush_every = 1

    def warm_up(self, rounds: int = 2) -> None:
        """Take untimed turns, then learn how long a step lasts."""
        self._warmed = rounds * self.turn_steps
        for _ in range(rounds):
            for variant in self.variants:
                wall, cpu = self._turn(variant)
                # On a busy machine CPU time tells how long the step would last on a quiet one.
                seconds = cpu if self.stepper.trainer.device.type == "cpu" else wall
                if variant.name == STOCK:
                    self.flush_every = max(1, round(FLUSH_SECONDS / (seconds / self.turn_steps)))
        for variant in self.variants:
            variant.flush_every = self.flush_every
        gc.collect()
        gc.freeze()  # a full sweep of all that torch holds would hit whichever variant is at work

    def run(self, seconds: float) -> None:
        """Take rounds until the time is used up; the dense phase of the update sampler gets a quarter of it at most."""
        start, number, dense = time.perf_counter(), 0, True
        rest = max(1, (DENSE_STEPS - self._warmed) // self.turn_steps)
        while (elapsed := time.perf_counter() - start) < seconds or number < 3:
            if dense and (number >= rest or elapsed > seconds / 4):
                dense, self.dense_rounds = False, number
                for variant in self.variants:
                    variant.end_dense_phase()
            self._round(number)
            number += 1

    def _round(self, number: int) -> None:
        """Let each variant take its turn; peers only in some rounds."""
        for i in self._order.permutation(len(self.variants)):
            variant = self.variants[i]
            if variant.peer and number % self.peers_every:
                continue
            before = variant.snapshot_step()
            wall, cpu = self._turn(variant)
            scale = 1000 / self.turn_steps
            self.samples[variant.name].append(
                Sample(number, variant.label(before), wall * scale, cpu * scale)
            )

    def _turn(self, variant: Variant) -> tuple[float, float]:
        """Take one turn; only the steps are on the clock."""
        variant.enter()
        variant.before_turn(self.turn_steps)
        try:
            return self.stepper.timed(self.turn_steps, variant.extra)
        finally:
            variant.leave()


def shares(name: str, flush_every: int, turn: int) -> dict[str, float]:
    """Return how often each kind of turn comes in a long run, by the schedules of all that comes now and then."""
    seen: Counter[str] = Counter()
    for i in range(math.lcm(SAMPLED_EVERY, SNAPSHOT_EVERY, RULES_EVERY, flush_every, turn) // turn):
        steps = range(i * turn, (i + 1) * turn)

        def due(every: int, phase: int = 0, steps: range = steps) -> bool:
            return any(step % every == phase for step in steps)

        if name in {GUARDED, FULL} and due(SNAPSHOT_EVERY):
            seen["snapshot"] += 1
        elif name in OURS and due(
            RULES_EVERY, RULES_EVERY // 2
        ):  # apart from snapshots, so that both costs count
            seen["rules"] += 1
        elif name == FULL and steps[-1] % SAMPLED_EVERY == 0:
            seen["sampled"] += 1
        else:
            seen["flush" if name in OURS and due(flush_every) else "plain"] += 1
    return {label: count / seen.total() for label, count in seen.items()}


def rows(
    samples: Mapping[str, Sequence[Sample]], *, dense_rounds: int, flush_every: int, turn: int
) -> list[Row]:
    """Return the table: each variant against the mean of the two stock turns of its round."""
    found = []
    for name, taken in samples.items():
        if name == STOCK:
            continue
        steady = [s for s in taken if name != FULL or s.round >= dense_rounds]
        found.append(_row(name, steady, samples, shares(name, flush_every, turn)))
        if name == FULL and dense_rounds:
            first = [s for s in taken if s.round < dense_rounds]
            found.append(_row(FIRST, first, samples, None))
    return found


def _row(
    name: str,
    taken: Sequence[Sample],
    samples: Mapping[str, Sequence[Sample]],
    weights: Mapping[str, float] | None,
) -> Row:
    """Return one line; without weights the kinds count as often as they came."""
    base = {s.round: [s] for s in samples[STOCK]}
    if name != AGAIN:
        for s in samples[AGAIN]:
            base[s.round].append(s)
    estimates = {}
    for clock in ("wall", "cpu"):
        by_label = defaultdict(list)
        for s in taken:
            reference = sum(getattr(b, clock) for b in base[s.round]) / len(base[s.round])
            by_label[s.label].append(getattr(s, clock) / reference)
        ratios = {label: np.array(values) for label, values in by_label.items()}
        estimates[clock] = weighted_median(
            ratios, weights or {k: len(v) for k, v in ratios.items()}
        )
    stock_ms = float(np.median([s.wall for s in samples[STOCK]]))
    return Row(
        variant=name,
        wall=estimates["wall"],
        cpu=estimates["cpu"],
        added_ms=(estimates["wall"].ratio - 1) * stock_ms,
        turns=len(taken),
    )


def weighted_median(
    ratios: Mapping[str, NDArray[np.float64]], weights: Mapping[str, float]
) -> Estimate:
    """Return the weighted sum of the medians per kind, with a percentile bootstrap over turns within each kind.

    A kind that never came is left out and the others share its weight.
    """
    random = np.random.Generator(np.random.PCG64(1))
    present = {label: weights.get(label, 0.0) for label in ratios}
    total = sum(present.values()) or math.nan
    point, draws = 0.0, np.zeros(DRAWS)
    for label, values in ratios.items():
        share = present[label] / total
        point += share * float(np.median(values))
        draws += share * np.median(
            values[random.integers(len(values), size=(DRAWS, len(values)))], axis=1
        )
    low, high = np.percentile(draws, [2.5, 97.5])
    return Estimate(point, float(low), float(high))


def table(found: Sequence[Row], stock_ms: float) -> str:
    """Return the rows as text."""
    lines = [
        f"{'variant':44} {'wall ratio (95 %)':>24} {'CPU ratio (95 %)':>24} {'added ms':>9} {'turns':>6}"
    ]
    for row in found:
        wall, cpu = (f"{e.ratio:.4f} ({e.low:.4f}-{e.high:.4f})" for e in (row.wall, row.cpu))
        lines.append(f"{row.variant:44} {wall:>24} {cpu:>24} {row.added_ms:9.2f} {row.turns:6}")
    return "\n".join([f"one step of stock: {stock_ms:.1f} ms", *lines])


def as_json(found: Sequence[Row]) -> list[dict[str, object]]:
    """Return the rows as plain data."""
    return [asdict(row) for row in found]
