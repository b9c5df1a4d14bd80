"""What follows from the turns: ratios with 95 % intervals, and the added CPU time by part.

Everything is paired: a step counts relative to the two stock steps of its turn. What is clocked
(the parts of the package, and what callbacks, preprocessing and `optimizer_step` take beyond
stock's) and the rest of the step (forward, backward, optimizer, EMA, which stock does as well) are
estimated apart, since the noise of the second would hide the first. Rare work (sampled updates,
healthy snapshots, rules, flushes) counts by how often it comes in a long run: a trimmed mean would
not see it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from measure import Sample
from numpy.typing import NDArray
from parts import COLLECTOR, PARTS, SEAM, SHARED
from variants import FLUSH_SECONDS, each

Values = NDArray[np.float64]
Reader = Callable[[Sample], float]

RARE = ("updates", "rules", "guard")
"""Parts with rare work in the training thread."""
FLUSH, READING = "flush", "reading"
CUT, DRAWS = 0.2, 1000


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, draws: Values) -> Estimate:
        """Return the first of the draws, with the interval that the others make."""
        low, high = np.percentile(draws[1:], [2.5, 97.5])
        return cls(float(draws[0]), float(low), float(high))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        variant: Its name.
        turns: Turns that it took.
        cpu: CPU time of a step over stock's, all threads.
        wall: Time of day of a step over stock's.
        added_ms: CPU milliseconds a step beyond stock's; for one of ours what is clocked.
        clocked: CPU ratio if the rest of the step took as long as in stock; None for a peer, which has no parts.
        rest: What the rest of the step takes beyond stock's, as a share of a stock step.
        parts: What is clocked, by part, in milliseconds.
        unseen: Rare work that never came, and is not counted.
    """

    variant: str
    turns: int
    cpu: Estimate
    wall: Estimate
    added_ms: Estimate
    clocked: Estimate | None = None
    rest: Estimate | None = None
    parts: Mapping[str, Estimate] = field(default_factory=dict)
    unseen: Sequence[str] = ()


def trimmed_mean(values: Values) -> Values:
    """Return the mean along the last axis without the lowest and the highest fifth; NaN does not count.

    Args:
        values: Any shape (..., n).
    """
    ordered = np.sort(values, axis=-1)
    count = np.sum(~np.isnan(ordered), axis=-1)
    cut = (count * CUT).astype(int)
    sums = np.cumsum(np.nan_to_num(ordered), axis=-1)
    sums = np.concatenate([np.zeros((*sums.shape[:-1], 1)), sums], axis=-1)
    high = np.take_along_axis(sums, (count - cut)[..., None], axis=-1)[..., 0]
    low = np.take_along_axis(sums, cut[..., None], axis=-1)[..., 0]
    with np.errstate(invalid="ignore"):
        found: Values = (high - low) / (count - 2 * cut)
    return found


def drawn(values: Values) -> Values:
    """Return the trimmed mean, then that of as many turns drawn with replacement, DRAWS times.

    The same turns are drawn for values of the same turns: what a disturbed turn adds to several parts stays together.

    Args:
        values: One a turn; NaN where the turn does not count.
    """
    random = np.random.Generator(np.random.PCG64(1))
    indices = random.integers(len(values), size=(DRAWS, len(values)))
    found = np.concatenate([[trimmed_mean(values)], trimmed_mean(values[indices])])
    return np.where(np.isnan(found), found[0], found)


class Turns:
    """One variant's steps beside the stock steps of their turns.

    Args:
        taken: The steps of the variant.
        stock: The stock steps to compare with, by turn.
    """

    def __init__(self, taken: Sequence[Sample], stock: Mapping[int, Sequence[Sample]]) -> None:
        self.taken = list(taken)
        self._stock = [stock[sample.turn] for sample in taken]
        self.young = all(sample.dense for sample in taken)

    def ours(self, of: Reader) -> Values:
        """Return a figure of each of the variant's steps."""
        return np.array([of(sample) for sample in self.taken])

    def stock(self, of: Reader) -> Values:
        """Return the same figure of stock, the mean of each turn."""
        return np.array([np.mean([of(sample) for sample in turn]) for turn in self._stock])

    def beyond(self, of: Reader) -> Values:
        """Return how much larger a figure is than stock's, as a share of a stock step."""
        return (self.ours(of) - self.stock(of)) / self.stock(cpu_of)

    def log_ratio(self, of: Reader) -> Values:
        """Return the logarithm of a figure's ratio to stock's."""
        return np.log(self.ours(of) / self.stock(of))

    def due(self, *work: str) -> NDArray[np.bool_]:
        """Return in which turns some rare work was done."""
        return np.array([bool(sample.due & set(work)) for sample in self.taken])


def cpu_of(sample: Sample) -> float:
    """Return the CPU milliseconds of a step on the training thread."""
    return sum(sample.parts.values())


def part_of(part: str) -> Reader:
    """Return what reads a part of a sample."""
    return lambda sample: sample.parts.get(part, 0.0)


READERS: dict[str, Reader] = {
    READING: part_of(SEAM),  # what remains of it: stock's own clip is in that of stock
    **{part: part_of(part) for part in (*PARTS, COLLECTOR)},
    FLUSH: lambda sample: sample.others,
}


def undisturbed_ms(stock: Sequence[Sample]) -> float:
    """Return how long a stock step lasts on a quiet machine: as long as the fastest tenth took."""
    return float(np.percentile([cpu_of(sample) for sample in stock], 10))


def part_draws(turns: Turns, part: str, share: float) -> tuple[Values, Values] | None:
    """Return draws of what a part takes beyond stock's, as a share of a stock step: without rare work, and with it.

    Args:
        turns: The steps.
        part: Its name.
        share: How often its rare work comes in a step.

    Returns:
        The draws; None where the rare work never came.
    """
    values, due = turns.beyond(READERS[part]), turns.due(part)
    plain = drawn(np.where(due, np.nan, values)) if not due.all() else np.zeros(DRAWS + 1)
    if not share:
        return plain, plain
    return (plain, (1 - share) * plain + share * drawn(values[due])) if due.any() else None


def shares_of(turns: Turns, rare: Mapping[str, int], stock_ms: float) -> dict[str, float]:
    """Return how often rare work comes in a step: of a long run, or in the first steps as often as it came.

    Args:
        turns: The steps.
        rare: Steps from one to the next in a long run.
        stock_ms: How long a stock step lasts undisturbed.
    """
    shares = {part: turns.due(part).mean() if turns.young else 1 / n for part, n in rare.items()}
    return shares | ({FLUSH: min(1.0, stock_ms / 1000 / FLUSH_SECONDS)} if rare else {})


def own_row(
    name: str, turns: Turns, shares: Mapping[str, float], snapshots: Turns | None = None
) -> Row:
    """Return the line of one of ours, or of stock again.

    Args:
        name: Its name.
        turns: Its steps.
        shares: How often rare work comes in a step.
        snapshots: Steps to look for healthy snapshots in, where there are more of them.
    """
    found, excess = {}, np.zeros(DRAWS + 1)
    for part in READERS:
        share = shares.get(part, 0.0)
        draws = part_draws(snapshots if snapshots and part == "guard" else turns, part, share)
        if draws is not None:
            found[part] = draws[1]
            excess = excess + (draws[1] - draws[0] if part in RARE and not turns.young else 0.0)
    clocked = sum(found.values(), np.zeros(DRAWS + 1))
    shared = float(np.median(turns.stock(part_of(SHARED)) / turns.stock(cpu_of)))
    rest = shared * (np.exp(drawn(turns.log_ratio(part_of(SHARED)))) - 1)
    scale = float(np.median(turns.stock(cpu_of)))
    return Row(
        variant=name,
        turns=len(turns.taken),
        cpu=Estimate.of(1 + clocked + rest),
        wall=Estimate.of(wall_without_rare(turns) + excess),
        added_ms=Estimate.of(clocked * scale),
        clocked=Estimate.of(1 + clocked),
        rest=Estimate.of(rest),
        parts={part: Estimate.of(draws * scale) for part, draws in found.items()},
        unseen=[part for part in READERS if part not in found],
    )


def wall_without_rare(turns: Turns) -> Values:
    """Return the draws of the ratio by the time of day over turns without rare work; of first steps, over all."""
    rare = turns.due(*RARE) & (not turns.young)
    logs = turns.log_ratio(wall_of)
    return np.exp(drawn(logs if rare.all() else np.where(rare, np.nan, logs)))


def peer_row(name: str, turns: Turns, cycles: Sequence[int]) -> Row:
    """Return the line of a peer.

    Args:
        name: Its name.
        turns: Its steps.
        cycles: Steps after which it does something rare, longest first, each a multiple of the next.
    """
    ratios, unseen = {}, [each(n) for n in cycles if not turns.due(each(n)).any()]
    for clock, of in {"cpu": whole_of, "wall": wall_of}.items():
        logs, left = turns.log_ratio(of), 1.0
        total, before = np.zeros(DRAWS + 1), 0.0
        for n in cycles:
            due = turns.due(each(n))
            share, before = 1 / n - before, 1 / n
            if due.any():
                total, left = total + share * np.exp(drawn(logs[due])), left - share
        plain = ~turns.due(*map(each, cycles))
        ratios[clock] = total + left * np.exp(drawn(logs[plain]))
    scale = float(np.median(turns.stock(cpu_of)))
    return Row(
        variant=name,
        turns=len(turns.taken),
        cpu=Estimate.of(ratios["cpu"]),
        wall=Estimate.of(ratios["wall"]),
        added_ms=Estimate.of((ratios["cpu"] - 1) * scale),
        unseen=unseen,
    )


def whole_of(sample: Sample) -> float:
    """Return the CPU milliseconds of a step, all threads."""
    return cpu_of(sample) + sample.others


def wall_of(sample: Sample) -> float:
    """Return the milliseconds of a step by the time of day."""
    return sample.wall
