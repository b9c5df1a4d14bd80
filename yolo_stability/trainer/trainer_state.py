"""`TrainerState`: an Ultralytics trainer as guard, step loop and rescue see it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from yolo_stability.compat.ultralytics import Trainer, inner_model, loss_items, warmup_iterations
from yolo_stability.guard.training_state import Average, Scaler, Scheduler

__all__ = ["TrainerState"]


class TrainerState:
    """Reads through to one trainer; made once a run.

    Args:
        trainer: The trainer, after its set-up.

    Attributes:
        host: The trainer itself, for what acts on Ultralytics alone: a fault.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.host = trainer

    # What a step changes

    @property
    def model(self) -> nn.Module:
        """The model without DDP or `torch.compile` wrappers."""
        return inner_model(self.host)

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer; an out-of-memory retry makes a new one."""
        optimizer: torch.optim.Optimizer = self.host.optimizer
        return optimizer

    @property
    def scaler(self) -> Scaler:
        """AMP's scaler."""
        scaler: Scaler = self.host.scaler
        return scaler

    @property
    def scheduler(self) -> Scheduler:
        """The schedule."""
        scheduler: Scheduler = self.host.scheduler
        return scheduler

    @property
    def ema(self) -> Average | None:
        """The average; a recovery makes a new one."""
        ema: Average | None = self.host.ema
        return ema

    @property
    def loss(self) -> Tensor:
        """Loss of the last batch; None before the first."""
        loss: Tensor = self.host.loss
        return loss

    @loss.setter
    def loss(self, value: Tensor) -> None:
        self.host.loss = value

    @property
    def running_loss(self) -> Any:
        """Running mean of an epoch, which the progress bar and `results.csv` show."""
        return self.host.tloss

    @running_loss.setter
    def running_loss(self, value: Any) -> None:
        self.host.tloss = value

    def loss_items(self) -> dict[str, Tensor]:
        """Return the named loss items of the last batch."""
        return loss_items(self.host)

    # Where it runs, and what

    @property
    def device(self) -> torch.device:
        """Device of this process."""
        device: torch.device = self.host.device
        return device

    @property
    def world_size(self) -> int:
        """Processes that train together."""
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
        """Precision of AMP; None when off."""
        if self.host.args.amp == "bf16":
            return torch.bfloat16
        return torch.float16 if bool(self.host.amp) else None

    @property
    def epoch(self) -> int:
        """The present epoch, counted from 0."""
        epoch: int = self.host.epoch
        return epoch

    @property
    def epochs(self) -> int:
        """How many there will be."""
        epochs: int = self.host.epochs
        return epochs

    @property
    def start_epoch(self) -> int:
        """The epoch with which this session began."""
        epoch: int = self.host.start_epoch
        return epoch

    @property
    def batches(self) -> int:
        """Iterations of an epoch."""
        return len(self.host.train_loader)

    @property
    def batch_size(self) -> int:
        """Images of a batch."""
        return int(self.host.batch_size)

    def stop(self) -> None:
        """End the training with this epoch."""
        self.host.stop = True

    # What it began from

    @property
    def resume(self) -> bool:
        """Whether it goes on with an earlier run."""
        return bool(self.host.resume)

    @property
    def checkpoint(self) -> str | None:
        """File from which it goes on; None where its weights are new."""
        source = str(self.host.args.model)
        return source if self.resume or source.endswith(".pt") else None

    @property
    def best_fitness(self) -> Any:
        """The best fitness so far; None without any."""
        return getattr(self.host, "best_fitness", None)

    @best_fitness.setter
    def best_fitness(self, value: Any) -> None:
        self.host.best_fitness = value

    def fresh_model(self) -> nn.Module:
        """Return a model of the same kind with new weights, as stock builds it."""
        model: nn.Module = self.host.build_stock_model(copy.deepcopy(self.model.yaml))
        return model

    # The warm-up

    @property
    def warmup_bias_lr(self) -> float:
        """Rate at which biases begin a warm-up."""
        return float(self.host.args.warmup_bias_lr)

    @warmup_bias_lr.setter
    def warmup_bias_lr(self, value: float) -> None:
        self.host.args.warmup_bias_lr = value

    def warm_up(self, place: int) -> None:
        """Set rates, momentum and accumulation as Ultralytics does in a warm-up; does nothing after its end.

        Args:
            place: Iterations of the warm-up that are passed.
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
