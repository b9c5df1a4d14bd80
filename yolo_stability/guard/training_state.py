"""`TrainingState`: the interface of a training for guard, snapshots and remedies.

`trainer/trainer_state.py` maps an Ultralytics trainer onto it; a custom loop has these parts
anyway. Everything is read again at each use, since a recovery or a retry may replace the optimizer
or the EMA.
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
        updates: Number of updates.
    """

    ema: nn.Module
    updates: int


class Scaler(Protocol):
    """Loss scaling of AMP, compatible with `torch.amp.GradScaler`."""

    def is_enabled(self) -> bool:
        """Return whether losses are scaled."""

    def get_scale(self) -> float:
        """Return the current scale."""

    def get_growth_interval(self) -> int:
        """Return the number of steps after which the scale may grow."""

    def update(self) -> None:
        """Complete a step."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state."""


class Scheduler(Protocol):
    """Scheduler of the learning rates.

    Attributes:
        base_lrs: Base rate of each parameter group, which the schedule multiplies.
    """

    base_lrs: list[float]


class Processes(Protocol):
    """Processes of a training."""

    @property
    def device(self) -> torch.device:
        """Device of this process."""

    @property
    def world_size(self) -> int:
        """Number of processes that train together."""


class TrainingState(Processes, Protocol):
    """The parts of a training that a step changes.

    Attributes:
        loss: Loss of the last batch; None before the first.
        running_loss: Loss of the progress bar: a tensor, a dict of them, or None.
    """

    loss: Tensor
    running_loss: Any

    @property
    def model(self) -> nn.Module:
        """The model without wrappers."""

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer."""

    @property
    def scaler(self) -> Scaler:
        """Loss scaling; disabled without AMP."""

    @property
    def scheduler(self) -> Scheduler:
        """The schedule of learning rates."""

    @property
    def ema(self) -> Average | None:
        """Moving average of the weights, if there is one."""


class TrainingRun(TrainingState, Protocol):
    """A training state with the data that reports need."""

    @property
    def save_dir(self) -> Path:
        """The run folder."""

    @property
    def epoch(self) -> int:
        """The current epoch, counted from 0."""

    @property
    def epochs(self) -> int:
        """Number of epochs."""

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Arguments of the training by name."""

    @property
    def precision(self) -> torch.dtype | None:
        """Precision of autocast; None if it is disabled."""
