"""Since when a fault shows, told without any rule: from the moment that its label names, or from healthy runs.

Healthy runs of the same task, model and optimizer are what a faulty run is compared with, whatever their recipe and
seed. A gradual fault shows from the first step at which the run leaves what all of them do at that step: loss or
gradient norm, per image of a batch, more than a factor outside their range for some steps in a row, or a value that
is not finite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from yolo_stability.benchmarks.labeled_runs import LabeledRun
from yolo_stability.trace.arrays import Bools, Floats

__all__ = ["Effect", "effect_of", "first_true", "references"]

LOSS_FACTOR, NORM_FACTOR, IN_A_ROW = 2.0, 10.0, 3
HARMED = 0.25
_LEARNED = 0.05  # healthy runs that learned less than this say nothing about harm


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a fault did to a run.

    Attributes:
        onset: Step since which it shows; None where nothing of it shows in loss, norm or finiteness.
        harmed: The final fitness is below a quarter of the median of the healthy runs.
        first_bad: First step with a value that is not finite; None without any.
    """

    onset: int | None
    harmed: bool
    first_bad: int | None

    @property
    def exists(self) -> bool:
        """Whether there is an effect at all."""
        return self.harmed or self.onset is not None


def references(run: LabeledRun, healthy: Sequence[LabeledRun]) -> list[LabeledRun]:
    """Return the healthy runs that a run can be compared with: same task, model and, if there are any, optimizer."""
    alike = [h for h in healthy if (h.task, h.model) == (run.task, run.model) and h is not run]
    return [h for h in alike if h.optimizer == run.optimizer] or alike


def effect_of(run: LabeledRun, healthy: Sequence[LabeledRun]) -> Effect:
    """Return since when a fault shows, and whether it does at all.

    Args:
        run: The faulty run.
        healthy: Its references.
    """
    steps, named = run.series.step, run.label.step
    # no fault shows before it strikes
    after = 0 if named is None else int(np.searchsorted(steps, named))
    bad = run.bad
    away = _outside(run, healthy)
    away[:after] = False
    shown = [
        row
        for row in (first_true(bad), _first_stretch(away, IN_A_ROW))
        if row is not None and row >= after
    ]
    onset = int(steps[min(shown)]) if shown else None
    at = first_true(bad)
    return Effect(
        onset=named if onset is not None and named is not None else onset,
        harmed=_harmed(run, healthy),
        first_bad=None if at is None else int(steps[at]),
    )


def _outside(run: LabeledRun, healthy: Sequence[LabeledRun]) -> Bools:
    """Return at which positions a run is outside of what healthy runs do; where one had ended, its last value counts.

    Args:
        run: The run.
        healthy: Its references; without any, nothing is outside.
    """
    away = np.zeros(run.series.step.size, dtype=bool)
    if not healthy:
        return away
    for name, factor in (("loss", LOSS_FACTOR), ("norm", NORM_FACTOR)):
        own = np.abs(getattr(run.series, name)) / run.batch
        others = np.array(
            [_stretched(np.abs(getattr(h.series, name)) / h.batch, own.size) for h in healthy]
        )
        away |= ~((own <= factor * others.max(axis=0)) & (own >= others.min(axis=0) / factor))
    return away


def _stretched(values: Floats, size: int) -> Floats:
    """Return so many values, the last one repeated where there are fewer."""
    found: Floats = values[np.minimum(np.arange(size), values.size - 1)]
    return found


def first_true(flags: Bools) -> int | None:
    """Return the position of the first true flag; None without one."""
    return int(np.argmax(flags)) if flags.any() else None


def _first_stretch(flags: Bools, length: int) -> int | None:
    """Return where the first stretch of so many flags in a row begins; one that reaches the end may be shorter."""
    if not flags.any():
        return None
    padded = np.concatenate([flags, np.full(length - 1, flags[-1])])
    return first_true(
        np.asarray(np.lib.stride_tricks.sliding_window_view(padded, length).all(axis=1))
    )


def _harmed(run: LabeledRun, healthy: Sequence[LabeledRun]) -> bool:
    """Whether a run learned far less than healthy ones."""
    known = [h.fitness for h in healthy if h.fitness is not None]
    if run.fitness is None or not known or median(known) < _LEARNED:
        return False
    return run.fitness < HARMED * median(known)
