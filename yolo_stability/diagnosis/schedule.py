"""Learning rates that Ultralytics' warm-up and schedule call for, from the settings of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from yolo_stability.core.types import RunHeader
from yolo_stability.trace.arrays import Floats, Ints, RunSeries, SeriesEvent

__all__ = ["StockSchedule", "is_bias"]

_LRF, _BIAS_RATE = 0.01, 0.1  # defaults of `lrf` and `warmup_bias_lr`


def is_bias(group: str) -> bool:
    """Return whether a parameter group holds biases, whose rate falls during the warm-up."""
    return group.startswith("bias")


@dataclass(frozen=True, slots=True, kw_only=True)
class StockSchedule:
    """Warm-up by iteration, then one step per epoch, as in Ultralytics' trainer.

    Attributes:
        base: Base rate by parameter group.
        epochs: Planned epochs.
        final: Final share of the base rate (`lrf`).
        cosine: Whether the schedule is a cosine (`cos_lr`) instead of a line.
        batches: Batches per epoch.
        warmup: Iterations of the warm-up.
        bias_rate: Rate of the biases at the start of the warm-up; other rates start at 0.
    """

    base: Mapping[str, float]
    epochs: int
    final: float
    cosine: bool
    batches: int
    warmup: int
    bias_rate: float

    @classmethod
    def of(cls, header: RunHeader | None) -> StockSchedule | None:
        """Return the schedule of a run; None for a plain loop or a run limited by time.

        Args:
            header: Header of the run; None if its settings are not to be used.
        """
        if header is None:
            return None
        effective, requested = header.effective, header.requested
        epochs, batches = effective.get("epochs"), effective.get("batches_per_epoch")
        groups = effective.get("groups") or {}
        if not (isinstance(epochs, int) and isinstance(batches, int)) or effective.get("time"):
            return None  # a time limit changes the number of epochs as the run proceeds
        if epochs < 1 or batches < 1 or not groups:
            return None

        def setting(name: str, default: float) -> float:
            value = effective.get(name, requested.get(name, default))
            return float(value) if isinstance(value, int | float) else default

        rounds = min(setting("warmup_epochs", 0.0), max(epochs - 1, 0))
        return cls(
            base={name: float(group.get("lr", 0.0)) for name, group in groups.items()},
            epochs=epochs,
            final=setting("lrf", _LRF),
            cosine=bool(setting("cos_lr", 0.0)),
            batches=batches,
            warmup=int(setting("warmup_iterations", round(rounds * batches))),
            bias_rate=setting("warmup_bias_lr", _BIAS_RATE),
        )

    def share(self, epoch: Ints) -> Floats:
        """Return the share of the base rate at each epoch, without the warm-up.

        Example:
            >>> plan = StockSchedule(
            ...     base={}, epochs=10, final=0.01, cosine=False, batches=4, warmup=0, bias_rate=0.1
            ... )
            >>> plan.share(np.array([0, 5, 20])).round(3).tolist()
            [1.0, 0.505, 0.01]
        """
        done = epoch / self.epochs
        if self.cosine:
            return np.maximum((1 - np.cos(done * np.pi)) / 2, 0) * (self.final - 1) + 1
        return np.maximum(1 - done, 0) * (1 - self.final) + self.final

    def iterations(self, run: RunSeries) -> Ints:
        """Return Ultralytics' count of iterations at each step: `epoch * batches + batch`.

        Args:
            run: The run; where its first step is in the middle of an epoch, the count of that epoch
                is too low.
        """
        done = np.cumsum(run.accumulate) - 1
        new = np.diff(run.epoch, prepend=-1) != 0
        session = np.diff(run.attempt, prepend=-1) != 0
        count = np.empty(run.step.size, dtype=np.int64)
        starts = np.flatnonzero(new | session)
        offset = 0
        for first, end in zip(starts, [*starts[1:], run.step.size], strict=True):
            due = int(run.epoch[first]) * self.batches + int(run.accumulate[first]) - 1
            # gradients of the last batches of an epoch may be used in the first step of the next
            carried = due - (int(done[first]) + offset)
            if session[first] or not 0 <= carried < run.accumulate[first]:
                offset += carried
            count[first:end] = done[first:end] + offset
        return count

    def warmup_place(self, run: RunSeries) -> tuple[Ints, Floats]:
        """Return the completed warm-up iterations at each step, and the initial rate of the biases.

        A rescue that rolls back into the warm-up repeats a part of it.
        """
        count = self.iterations(run)
        place = count
        bias = np.full(run.step.size, self.bias_rate)
        for event in run.events:
            if event.kind == "rescue":
                later = run.step >= event.step
                bias[later] = _number(event, "warmup_bias_lr", self.bias_rate)
                place = np.where(later, count - int(_number(event, "warmup_back", 0)), place)
        return place, bias

    def rates(self, group: str, run: RunSeries, place: Ints, bias: Floats) -> Floats:
        """Return the rate of a group at each step; NaN for an unknown group.

        Args:
            group: Name of the group.
            run: The run.
            place: Result of `warmup_place`.
            bias: Result of `warmup_place`.
        """
        base = self.base.get(group)
        if base is None:
            return np.full(run.step.size, np.nan)
        target = base * self.share(run.epoch)
        if not self.warmup:
            return target
        first = bias if is_bias(group) else 0.0
        done = np.clip(place / self.warmup, 0, 1)
        return np.where(place <= self.warmup, first + (target - first) * done, target)


def _number(event: SeriesEvent, name: str, default: float) -> float:
    value = event.data.get(name)
    return float(value) if isinstance(value, int | float) else default
