"""`TrainingState`: what guard, snapshots and remedies need of a training, whoever runs its loop.

An Ultralytics trainer is mapped onto it by `trainer/trainer_state.py`; a loop of one's own has these parts anyway.
Everything is read anew at each use, for a recovery or a retry may exchange the optimizer or the average.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

__all__ = ["Average", "Processes", "Scaler", "Scheduler", "TrainingRun", "TrainingState"]


class Average(Protocol):
    """A moving average of a model's weights.

    Attributes:
        ema: The averaged model.
        updates: How often it was updated.
    """

    ema: nn.Module
    updates: int


class Scaler(Protocol):
    """Loss scaling of AMP, as `torch.amp.GradScaler` does it."""

    def is_enabled(self) -> bool:
        """Return whether losses are scaled."""

    def get_scale(self) -> float:
        """Return the present scale."""

    def get_growth_interval(self) -> int:
        """Return after how many steps it may grow."""

    def update(self) -> None:
        """Close a step."""

    def state_dict(self) -> dict[str, Any]:
        """Return its state."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a state."""


class Scheduler(Protocol):
    """What sets the learning rates of an epoch.

    Attributes:
        base_lrs: Rate of each parameter group that a schedule multiplies.
    """

    base_lrs: list[float]


class Processes(Protocol):
    """Where a training runs."""

    @property
    def device(self) -> torch.device:
        """Device of this process."""

    @property
    def world_size(self) -> int:
        """Processes that train together."""


class TrainingState(Processes, Protocol):
    """The parts of a training that a step changes.

    Attributes:
        loss: Loss of the last batch; None before the first.
        running_loss: What the progress bar shows: a tensor, a dict of them, or None.
    """

    loss: Tensor
    running_loss: Any

    @property
    def model(self) -> nn.Module:
        """The model itself, without wrappers."""

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer."""

    @property
    def scaler(self) -> Scaler:
        """Loss scaling; a disabled one without AMP."""

    @property
    def scheduler(self) -> Scheduler:
        """The schedule of learning rates."""

    @property
    def ema(self) -> Average | None:
        """Moving average of the weights, if there is one."""


class TrainingRun(TrainingState, Protocol):
    """A training state with what a report about it names."""

    @property
    def save_dir(self) -> Path:
        """The run folder."""

    @property
    def epoch(self) -> int:
        """The present epoch, counted from 0."""

    @property
    def epochs(self) -> int:
        """How many there will be."""

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Arguments of the training by name."""

    @property
    def precision(self) -> torch.dtype | None:
        """Precision of autocast; None where it is off."""
