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
from variants import FLUSH_SECONDS, MERGE_EVERY, each

Values = NDArray[np.float64]
Reader = Callable[[Sample], float]

RARE = ("updates", "rules", "guard")
"""Parts with rare work in the training thread."""
FLUSH, MERGE, READING = "flush", "merge", "reading"
CLOCKED, REST = "clocked", "rest of the step"
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
        step_ms: CPU milliseconds of a stock step.
        added: CPU time beyond stock's, as a share of a stock step; for one of ours what is clocked.
        clocked: CPU ratio if the rest of the step took as long as in stock; None for a peer, which has no parts.
        rest: What the rest of the step takes beyond stock's, as a share of a stock step.
        thread: `clocked` without what the trace's own thread does.
        parts: What is clocked, by part, as a share of a stock step.
        unseen: Rare work that never came, and is not counted.
        draws: Draws by part, of their sum and of the rest, to compare with a row of the same turns.
    """

    variant: str
    turns: int
    cpu: Estimate
    wall: Estimate
    step_ms: float
    added: Estimate
    clocked: Estimate | None = None
    rest: Estimate | None = None
    thread: Estimate | None = None
    parts: Mapping[str, Estimate] = field(default_factory=dict)
    unseen: Sequence[str] = ()
    draws: Mapping[str, Values] = field(default_factory=dict, repr=False, compare=False)


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
}
"""What the training thread does, by part."""
COLUMNS = (*READERS, FLUSH, MERGE)


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


def shares_of(turns: Turns, rare: Mapping[str, int]) -> dict[str, float]:
    """Return how often rare work comes in a step: of a long run, or in the first steps as often as it came.

    Args:
        turns: The steps.
        rare: Steps from one to the next in a long run.
    """
    return {part: turns.due(part).mean() if turns.young else 1 / n for part, n in rare.items()}


def trace_draws(turns: Turns, merges: Turns | None, stock_ms: float) -> dict[str, Values]:
    """Return draws of what the trace's own thread takes, as a share of a stock step; without merges where none came.

    Args:
        turns: The steps.
        merges: Steps of any of ours in which parts of the trace were merged: rare, and the same work for all.
        stock_ms: How long a stock step lasts undisturbed.
    """
    flushes = min(1.0, stock_ms / 1000 / FLUSH_SECONDS)
    found, due = {}, turns.due(FLUSH)
    if due.any():
        plain = drawn(turns.beyond(others_of)[due])
        found[FLUSH] = flushes * plain
        if merges:
            found[MERGE] = flushes / MERGE_EVERY * (drawn(merges.beyond(others_of)) - plain)
    return found


def own_row(
    name: str,
    turns: Turns,
    shares: Mapping[str, float],
    trace: Mapping[str, Values] | None = None,
    snapshots: Turns | None = None,
) -> Row:
    """Return the line of one of ours, or of stock again.

    Args:
        name: Its name.
        turns: Its steps.
        shares: How often rare work comes in a step, by part.
        trace: Draws of what the trace's own thread takes; None for stock, which has none.
        snapshots: Steps to look for healthy snapshots in, where there are more of them.
    """
    found, excess = {}, np.zeros(DRAWS + 1)
    for part in READERS:
        source = snapshots if snapshots and part == "guard" else turns
        draws = part_draws(source, part, shares.get(part, 0.0))
        if draws is not None:
            found[part] = draws[1]
            excess = excess + (0.0 if turns.young else draws[1] - draws[0])
    thread = 1 + sum(found.values(), np.zeros(DRAWS + 1))
    clocked = thread + sum((trace or {}).values(), np.zeros(DRAWS + 1))
    shared = float(np.median(turns.stock(part_of(SHARED)) / turns.stock(cpu_of)))
    rest = shared * (np.exp(drawn(turns.log_ratio(part_of(SHARED)))) - 1)
    every = {**found, **(trace or {})}
    return Row(
        variant=name,
        turns=len(turns.taken),
        cpu=Estimate.of(clocked + rest),
        wall=Estimate.of(wall_draws(turns) + excess),
        step_ms=float(np.median(turns.stock(cpu_of))),
        added=Estimate.of(clocked - 1),
        clocked=Estimate.of(clocked),
        rest=Estimate.of(rest),
        thread=Estimate.of(thread),
        parts={part: Estimate.of(draws) for part, draws in every.items()},
        unseen=[p for p in (READERS if trace is None else COLUMNS) if p not in every],
        draws={**every, CLOCKED: clocked, REST: rest},
    )


def wall_draws(turns: Turns) -> Values:
    """Return draws of the ratio by the time of day over turns without rare work; of first steps, over all.

    Flushes are as frequent here as in the turns: more often than in a run whose steps are short.
    """
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
    return Row(
        variant=name,
        turns=len(turns.taken),
        cpu=Estimate.of(ratios["cpu"]),
        wall=Estimate.of(ratios["wall"]),
        step_ms=float(np.median(turns.stock(cpu_of))),
        added=Estimate.of(ratios["cpu"] - 1),
        unseen=unseen,
    )


def whole_of(sample: Sample) -> float:
    """Return the CPU milliseconds of a step, all threads."""
    return cpu_of(sample) + sample.others


def others_of(sample: Sample) -> float:
    """Return the CPU milliseconds of all threads but the training thread."""
    return sample.others


def wall_of(sample: Sample) -> float:
    """Return the milliseconds of a step by the time of day."""
    return sample.wall
