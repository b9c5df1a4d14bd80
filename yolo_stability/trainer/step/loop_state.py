"""`LoopState`: what the step loop needs of a training beside what a step changes."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from yolo_stability.guard.training_state import TrainingRun

__all__ = ["LoopState"]


class LoopState(TrainingRun, Protocol):
    """A training whose steps are followed."""

    @property
    def host(self) -> Any:
        """Whoever runs the training; faults act on it."""

    @property
    def batches(self) -> int:
        """Iterations of an epoch."""

    @property
    def start_epoch(self) -> int:
        """The epoch with which this session began."""

    def loss_items(self) -> dict[str, Tensor]:
        """Return the named loss items of the last batch, each 0-dim and on the device of the loss."""

    def warm_up(self, place: int) -> None:
        """Set rates, momentum and accumulation as they are at a place of the warm-up, while it lasts."""

    def stop(self) -> None:
        """End the training with this epoch."""
