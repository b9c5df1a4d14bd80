"""A real trainer driven by hand: `step` does between two batches what `BaseTrainer._do_train` does.

Each variant has a trainer of its own. Same seed, same batch: whatever changes nothing stays bit for bit where stock is,
so that all variants take each turn from the same state (`same_state`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from parts import SEAM, SHARED, PartClock
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.models.yolo.pose import PoseTrainer
from ultralytics.utils.torch_utils import autocast

from yolo_stability import StabilityMonitor
from yolo_stability.data.resolve import resolve_data
from yolo_stability.trainer.session import WatchedRun

TRAINERS = {"detect": (DetectionTrainer, "shapes"), "pose": (PoseTrainer, "figures")}


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What is trained.

    Attributes:
        model: A YAML for a model from scratch, or a weights file for a fine-tune.
        accumulate: Batches whose gradients a step sums.
    """

    model: str
    task: str = "detect"
    imgsz: int = 160
    batch: int = 8
    accumulate: int = 1
    device: str = "cpu"
    amp: bool = False


class Stepper:
    """One trainer after its set-up and one batch, to be stepped again and again.

    Args:
        setup: What is trained.
        folder: For its run.
        clock: Notes how long the parts of a step take.
    """

    def __init__(self, setup: Setup, folder: Path, clock: PartClock) -> None:
        trainer_class, data = TRAINERS[setup.task]
        self.trainer: Any = trainer_class(
            overrides={
                "model": setup.model,
                "data": resolve_data(data, setup.task).data,
                "imgsz": setup.imgsz,
                "batch": setup.batch,
                "nbs": setup.batch * setup.accumulate,
                "epochs": 1000,
                "optimizer": "SGD",
                "lr0": 0.001,
                "warmup_epochs": 0,
                "mosaic": 0.0,
                "close_mosaic": 0,
                "amp": False,
                "plots": False,
                "val": False,
                "verbose": False,
                "device": setup.device,
                "workers": 0,
                "seed": 0,
                "project": str(folder.parent),
                "name": folder.name,
            }
        )
        self.setup, self.clock = setup, clock
        self._prepare()

    def _prepare(self) -> None:
        """Bring the trainer to the first step."""
        trainer = self.trainer
        trainer._setup_train()
        if trainer.device.type == "cpu":
            torch.set_num_threads(1)  # `select_device` has overridden it
        elif self.setup.amp:  # not by `amp=True`, whose check wants to download a model
            trainer.amp, trainer.scaler = True, torch.amp.GradScaler(trainer.device.type)
        trainer.epoch = 0
        trainer.tloss = None
        trainer._model_train()
        trainer.optimizer.zero_grad()
        self.batch = next(iter(trainer.train_loader))
        self.save_dir = Path(trainer.save_dir)
        trainer.scaler.step = self.clock.around(SHARED, trainer.scaler.step)
        trainer.ema.update = self.clock.around(SHARED, trainer.ema.update)
        self.share_zero_grad()

    def share_zero_grad(self) -> None:
        """Count `zero_grad` as stock's; again where a tool has put an optimizer of its own in place."""
        optimizer = self.trainer.optimizer
        optimizer.zero_grad = self.clock.around(SHARED, optimizer.zero_grad)

    def watch(self, **settings: Any) -> WatchedRun:
        """Let the package watch the trainer from here on.

        Args:
            settings: Settings of the package.
        """
        trainer = self.trainer
        StabilityMonitor(**settings).attach(trainer)
        trainer.run_callbacks("on_train_start")
        trainer.run_callbacks("on_train_epoch_start")
        run: WatchedRun = trainer.stability
        return run

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.trainer.device.type == "cuda":
            torch.cuda.synchronize()

    def step(self, extra: Callable[[Any], None] | None = None) -> None:
        """Take one whole optimizer step.

        Args:
            extra: Called between backward and the optimizer step, where other tools read gradients.
        """
        for number in range(1, self.setup.accumulate + 1):
            self.clock.call(SEAM, self.trainer.run_callbacks, "on_train_batch_start")
            self._pass()
            if number == self.setup.accumulate:
                if extra:
                    self.clock.call(SEAM, extra, self.trainer)
                self.clock.call(SEAM, self.trainer.optimizer_step)
            self._show_losses()
            self.clock.call(SEAM, self.trainer.run_callbacks, "on_train_batch_end")

    def _pass(self) -> None:
        """Pass the batch forward and backward."""
        trainer = self.trainer
        with autocast(trainer.amp, device=trainer.device.type):
            batch = self.clock.call(SEAM, trainer.preprocess_batch, dict(self.batch))
            loss, trainer.loss_items = trainer.model(batch)
            trainer.loss = loss.sum()
            items = trainer.loss_items
            if trainer.tloss is None:
                trainer.tloss = items
            elif isinstance(items, dict):
                trainer.tloss = {k: (trainer.tloss[k] + v) / 2 for k, v in items.items()}
            else:
                trainer.tloss = (trainer.tloss + items) / 2
        trainer.scaler.scale(trainer.loss).backward()

    def _show_losses(self) -> None:
        """Format the losses as the progress bar does, which waits for the device: stock waits here, too."""
        losses = self.trainer.tloss
        shown = losses.values() if isinstance(losses, dict) else losses
        _ = "".join(f"{value:11.4g}" for value in shown)

    def state(self) -> list[torch.Tensor]:
        """Return the tensors of model and EMA."""
        trainer = self.trainer
        return [*trainer.model.state_dict().values(), *trainer.ema.ema.state_dict().values()]


def same_state(one: Stepper, other: Stepper) -> bool:
    """Return whether two trainers hold bit for bit the same weights, buffers and averages.

    Args:
        one: A trainer.
        other: Another, of the same model.
    """
    return all(torch.equal(a, b) for a, b in zip(one.state(), other.state(), strict=True))
