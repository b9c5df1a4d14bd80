"""Faults of the learning-rate schedule: a factor on what the schedule says, from an optimizer step on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar

from yolo_stability.interventions.faults._base import Fault

__all__ = ["ScheduleFault"]


class ScheduleFault(Fault):
    """What a wrong edit of the schedule does: all goes well until it does not.

    Warm-up sets the rates anew before each batch, the scheduler before each epoch, nobody in between. So a rate that
    is not the one left here at the last step is the schedule's; it is remembered, and multiplied anew at every step.
    """

    counts: ClassVar[str] = "optimizer step"

    def __init__(self, value: float | None = None, at: Iterable[int] = ()) -> None:
        super().__init__(value, at)
        self._left: list[float] = []
        self._planned: list[float] = []
        self._starts: list[float] = []

    @abstractmethod
    def factor(self, steps: int) -> float:
        """Return the factor that many steps after the first one that is struck."""

    def on_gradients(self, trainer: Any, step: int) -> None:
        """Multiply what the schedule says, once the moment has come."""
        if not self.at or step < min(self.at):
            return
        rates = [group["lr"] for group in trainer.optimizer.param_groups]
        before = self._starts
        self._starts = [group.get("initial_lr", 1.0) for group in trainer.optimizer.param_groups]
        if len(self._left) != len(rates):
            self._planned = rates
        elif before != self._starts:  # a rescue has scaled the rates it found, damage and all
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
