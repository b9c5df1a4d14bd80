"""`LoopState`: the state of a training that the step loop uses."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from yolo_stability.guard.training_state import TrainingRun

__all__ = ["LoopState"]


class LoopState(TrainingRun, Protocol):
    """A training whose steps are watched."""

    @property
    def host(self) -> Any:
        """The trainer; injected faults act on it."""

    @property
    def batches(self) -> int:
        """Number of batches per epoch."""

    @property
    def start_epoch(self) -> int:
        """First epoch of this session, counted from 0."""

    def loss_items(self) -> dict[str, Tensor]:
        """Return the named loss items of the latest batch, each 0-dim on the device of the loss."""

    def warm_up(self, place: int) -> None:
        """Set learning rates, momentum and accumulation after `place` iterations of the warm-up."""

    def stop(self) -> None:
        """End the training after this epoch."""
