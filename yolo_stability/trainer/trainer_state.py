"""`TrainerState`: adapter from an Ultralytics trainer to the state that guard and rescue use."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from yolo_stability.compat.ultralytics import Trainer, inner_model, loss_items, warmup_iterations
from yolo_stability.guard.training_state import Average, Scaler, Scheduler

__all__ = ["TrainerState"]

_VALIDATED = 8  # images of a validation batch that is examined again


class TrainerState:
    """Adapter around one trainer; created once per run.

    Args:
        trainer: The trainer, after its setup.

    Attributes:
        host: The trainer itself; injected faults act on it.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.host = trainer

    # State that a step changes

    @property
    def model(self) -> nn.Module:
        """The model without DDP or `torch.compile` wrappers."""
        return inner_model(self.host)

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer; an out-of-memory retry replaces it."""
        optimizer: torch.optim.Optimizer = self.host.optimizer
        return optimizer

    @property
    def scaler(self) -> Scaler:
        """The gradient scaler of AMP."""
        scaler: Scaler = self.host.scaler
        return scaler

    @property
    def scheduler(self) -> Scheduler:
        """The learning-rate scheduler."""
        scheduler: Scheduler = self.host.scheduler
        return scheduler

    @property
    def ema(self) -> Average | None:
        """The exponential moving average of the weights; a recovery replaces it."""
        ema: Average | None = self.host.ema
        return ema

    @property
    def loss(self) -> Tensor:
        """Loss of the latest batch; None before the first one."""
        loss: Tensor = self.host.loss
        return loss

    @loss.setter
    def loss(self, value: Tensor) -> None:
        self.host.loss = value

    @property
    def running_loss(self) -> Any:
        """Running mean of the loss over the epoch, as in the progress bar and `results.csv`."""
        return self.host.tloss

    @running_loss.setter
    def running_loss(self, value: Any) -> None:
        self.host.tloss = value

    def loss_items(self) -> dict[str, Tensor]:
        """Return the named loss items of the latest batch."""
        return loss_items(self.host)

    # Environment and arguments

    @property
    def device(self) -> torch.device:
        """Device of this process."""
        device: torch.device = self.host.device
        return device

    @property
    def world_size(self) -> int:
        """Number of processes in a distributed run."""
        size: int = self.host.world_size
        return size

    @property
    def save_dir(self) -> Path:
        """The run folder."""
        return Path(self.host.save_dir)

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Arguments of Ultralytics by name."""
        arguments: dict[str, Any] = vars(self.host.args)
        return arguments

    @property
    def precision(self) -> torch.dtype | None:
        """Data type of AMP; None if AMP is off."""
        if self.host.args.amp == "bf16":
            return torch.bfloat16
        return torch.float16 if bool(self.host.amp) else None

    @property
    def epoch(self) -> int:
        """Current epoch, counted from 0."""
        epoch: int = self.host.epoch
        return epoch

    @property
    def epochs(self) -> int:
        """Planned number of epochs."""
        epochs: int = self.host.epochs
        return epochs

    @property
    def start_epoch(self) -> int:
        """First epoch of this session, counted from 0."""
        epoch: int = self.host.start_epoch
        return epoch

    @property
    def batches(self) -> int:
        """Number of batches per epoch."""
        return len(self.host.train_loader)

    @property
    def batch_size(self) -> int:
        """Number of images per batch."""
        return int(self.host.batch_size)

    def stop(self) -> None:
        """End the training after this epoch."""
        self.host.stop = True

    # Initial state

    @property
    def resume(self) -> bool:
        """Whether this session resumes an earlier run."""
        return bool(self.host.resume)

    @property
    def checkpoint(self) -> str | None:
        """Checkpoint that the weights come from; None for newly initialized weights."""
        source = str(self.host.args.model)
        return source if self.resume or source.endswith(".pt") else None

    @property
    def best_fitness(self) -> Any:
        """Best fitness so far; None before the first validation."""
        return getattr(self.host, "best_fitness", None)

    @best_fitness.setter
    def best_fitness(self, value: Any) -> None:
        self.host.best_fitness = value

    def fresh_model(self) -> nn.Module:
        """Return a stock model of the same architecture with newly initialized weights."""
        model: nn.Module = self.host.build_stock_model(copy.deepcopy(self.model.yaml))
        return model

    # Validation

    @property
    def validated_model(self) -> nn.Module:
        """The model that was validated: the average of the weights if there is one."""
        return self.ema.ema if self.ema else self.model

    @property
    def validation_precision(self) -> torch.dtype | None:
        """Precision of the forward in validation; None for single precision."""
        args = self.host.validator.args
        half = getattr(args, "quantize", None) == 16 or bool(getattr(args, "half", False))
        return torch.float16 if half else None

    def validation_batches(self) -> Iterator[dict[str, Any]]:
        """Yield validation batches as the validator passes them to the model.

        They are read from the dataset: an interrupted pass over the loader would shift the next.
        """
        validator, loader = self.host.validator, self.host.validator.dataloader
        count = len(loader.dataset)
        for first in range(0, count, _VALIDATED):
            chosen = range(first, min(first + _VALIDATED, count))
            yield validator.preprocess(loader.collate_fn([loader.dataset[i] for i in chosen]))

    # Learning-rate warm-up

    @property
    def warmup_bias_lr(self) -> float:
        """Learning rate of the biases at the start of the warm-up."""
        return float(self.host.args.warmup_bias_lr)

    @warmup_bias_lr.setter
    def warmup_bias_lr(self, value: float) -> None:
        self.host.args.warmup_bias_lr = value

    def warm_up(self, place: int) -> None:
        """Set learning rates, momentum and accumulation as Ultralytics does during warm-up.

        Does nothing once the warm-up has ended.

        Args:
            place: Number of warm-up iterations completed.
        """
        trainer, end = self.host, warmup_iterations(self.host)
        if not end or place > end:
            return
        args = trainer.args

        def at(first: float, last: float) -> float:
            return float(np.interp(place, [0, end], [first, last]))

        for group in trainer.optimizer.param_groups:
            first = args.warmup_bias_lr if group.get("param_group") == "bias" else 0.0
            group["lr"] = at(first, group["initial_lr"] * trainer.lf(trainer.epoch))
            if "momentum" in group:
                group["momentum"] = at(args.warmup_momentum, args.momentum)
        nominal = min(
            max(round(args.nbs / trainer.batch_size), 1), len(trainer.train_loader) * trainer.epochs
        )
        trainer.accumulate = max(1, round(at(1, nominal)))
