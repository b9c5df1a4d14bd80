"""`fault=lr_jump@3`: from optimizer step N on every learning rate is 1000 times what the schedule says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from yolo_stability.interventions.fault import Fault

__all__ = ["LearningRateJump"]

_FACTOR = 1000.0


class LearningRateJump(Fault):
    """What a wrong edit of the schedule does: all goes well until it does not.

    Warm-up sets the rates anew before each batch, the scheduler before each epoch, nobody in between. So a rate that
    is not the one left here at the last step is the schedule's, and is multiplied again.
    """

    counts: ClassVar[str] = "optimizer step"

    def __init__(self, value: float | None = None, at: Iterable[int] = ()) -> None:
        super().__init__(value, at)
        self._left: list[float] = []

    def on_gradients(self, trainer: Any, step: int) -> None:
        """Multiply what the schedule has set since the last step, once the moment has come."""
        if not self.at or step < min(self.at):
            return
        groups = trainer.optimizer.param_groups
        left = self._left if len(self._left) == len(groups) else [None] * len(groups)
        for group, before in zip(groups, left, strict=True):
            if group["lr"] != before:
                group["lr"] *= _FACTOR
        self._left = [group["lr"] for group in groups]
