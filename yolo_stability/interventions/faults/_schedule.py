"""Faults of the learning-rate schedule: a factor on the scheduled rate from one step on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar

from yolo_stability.interventions.faults._base import Fault

__all__ = ["ScheduleFault"]


class ScheduleFault(Fault):
    """Base class of faults that act like a wrong schedule, starting in a healthy run.

    Warm-up sets the rates before each batch, the scheduler before each epoch, and nothing does in
    between. A rate that differs from the one set here at the last step is therefore the scheduled
    one; it is stored, and multiplied again at every step.

    Example:
        >>> class DoubleRate(ScheduleFault):
        ...     def factor(self, steps):
        ...         return 2.0
        >>> DoubleRate(at=[10]).factor(0)
        2.0
    """

    counts: ClassVar[str] = "optimizer step"

    def __init__(self, value: float | None = None, at: Iterable[int] = ()) -> None:
        super().__init__(value, at)
        self._left: list[float] = []
        self._planned: list[float] = []
        self._starts: list[float] = []

    @abstractmethod
    def factor(self, steps: int) -> float:
        """Return the factor at a number of steps after the first affected one."""

    def on_gradients(self, trainer: Any, step: int) -> None:
        """Multiply the scheduled rates from the given step on."""
        if not self.at or step < min(self.at):
            return
        rates = [group["lr"] for group in trainer.optimizer.param_groups]
        before = self._starts
        self._starts = [group.get("initial_lr", 1.0) for group in trainer.optimizer.param_groups]
        if len(self._left) != len(rates):
            self._planned = rates
        elif before != self._starts:  # a rescue has scaled the current rates, including the fault
            self._planned = [
                p * now / then
                for p, now, then in zip(self._planned, self._starts, before, strict=True)
            ]
        else:
            kept = zip(rates, self._left, self._planned, strict=True)
            self._planned = [planned if rate == left else rate for rate, left, planned in kept]
        factor = self.factor(step - min(self.at))
        self._left = [planned * factor for planned in self._planned]
        for group, rate in zip(trainer.optimizer.param_groups, self._left, strict=True):
            group["lr"] = rate
