"""The onset of a fault, independent of any rule: from its label, or from healthy runs.

A faulty run is compared with all healthy runs of the same task, model and optimizer. The onset of a
gradual fault is the first step with a non-finite value, or at which loss or gradient norm per image
leaves the range of all healthy runs at that step by more than a factor, for several steps in a row.
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
_LEARNED = 0.05  # healthy runs that learned less than this are no reference for harm


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The effect of a fault on a run.

    Attributes:
        onset: First step at which it is visible; None if loss, norm and finiteness show no effect.
        harmed: Whether the final fitness is below a quarter of the median of healthy runs.
        first_bad: First step with a non-finite value; None without one.
    """

    onset: int | None
    harmed: bool
    first_bad: int | None

    @property
    def exists(self) -> bool:
        """Whether the fault has an effect."""
        return self.harmed or self.onset is not None


def references(run: LabeledRun, healthy: Sequence[LabeledRun]) -> list[LabeledRun]:
    """Return the healthy runs with the same task, model and, if available, optimizer."""
    alike = [h for h in healthy if (h.task, h.model) == (run.task, run.model) and h is not run]
    return [h for h in alike if h.optimizer == run.optimizer] or alike


def effect_of(run: LabeledRun, healthy: Sequence[LabeledRun]) -> Effect:
    """Return the effect of a fault on a run.

    Args:
        run: The faulty run.
        healthy: Its references.
    """
    steps, named = run.series.step, run.label.step
    # a sudden fault has no effect before its step
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
    """Return whether each step is outside the range of healthy runs.

    Args:
        run: The run.
        healthy: Its references, extended by their last value if shorter; without any, no step is
            outside.
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
    """Return the values cut to a length, or extended by repeating the last one."""
    found: Floats = values[np.minimum(np.arange(size), values.size - 1)]
    return found


def first_true(flags: Bools) -> int | None:
    """Return the position of the first true flag; None without one.

    Examples:
        >>> import numpy as np
        >>> first_true(np.array([False, True, True]))
        1
    """
    return int(np.argmax(flags)) if flags.any() else None


def _first_stretch(flags: Bools, length: int) -> int | None:
    """Return the start of the first stretch of consecutive flags; at the end it may be shorter."""
    if not flags.any():
        return None
    padded = np.concatenate([flags, np.full(length - 1, flags[-1])])
    return first_true(
        np.asarray(np.lib.stride_tricks.sliding_window_view(padded, length).all(axis=1))
    )


def _harmed(run: LabeledRun, healthy: Sequence[LabeledRun]) -> bool:
    """Return whether a run learned far less than healthy ones."""
    known = [h.fitness for h in healthy if h.fitness is not None]
    if run.fitness is None or not known or median(known) < _LEARNED:
        return False
    return run.fitness < HARMED * median(known)
