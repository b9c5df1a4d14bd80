"""A real trainer driven by hand: `step` does between two batches what `BaseTrainer._do_train` does.

All variants share one trainer, so they meet the same weights, the same batch and the same places in memory. What
differs between variants is swapped in outside the clock: class, callbacks and what watches.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.models.yolo.pose import PoseTrainer
from ultralytics.utils.torch_utils import autocast

from yolo_stability import StabilityMonitor
from yolo_stability.data.resolve import resolve_data
from yolo_stability.trainer.session import WatchedRun

TRAINERS = {"detect": (DetectionTrainer, "", "shapes"), "pose": (PoseTrainer, "-pose", "figures")}


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What is trained: model size (n or m), task, image size, batch size, device, mixed precision."""

    size: str
    task: str
    imgsz: int = 160
    batch: int = 8
    device: str = "cpu"
    amp: bool = False

    @property
    def model(self) -> str:
        """Name of the model."""
        return f"yolo26{self.size}{TRAINERS[self.task][1]}.yaml"


class Stepper:
    """One trainer after its set-up and one batch, to be stepped again and again."""

    def __init__(self, setup: Setup, folder: Path) -> None:
        trainer_class, _, data = TRAINERS[setup.task]
        self.trainer: Any = trainer_class(
            overrides={
                "model": setup.model,
                "data": resolve_data(data, setup.task).data,
                "imgsz": setup.imgsz,
                "batch": setup.batch,
                "nbs": setup.batch,
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
                "project": str(folder),
                "name": setup.model,
            }
        )
        trainer = self.trainer
        trainer._setup_train()
        if trainer.device.type == "cpu":
            torch.set_num_threads(1)  # `select_device` has overridden it
        elif setup.amp:  # not by `amp=True`, whose check wants to download a model
            trainer.amp, trainer.scaler = True, torch.amp.GradScaler(trainer.device.type)
        trainer.epoch = 0
        trainer.tloss = None
        trainer._model_train()
        trainer.optimizer.zero_grad()
        self.batch = next(iter(trainer.train_loader))
        self.stock = {k: list(v) for k, v in trainer.callbacks.items()}
        self.stock_class, self.save_dir = type(trainer), Path(trainer.save_dir)

    def watched(
        self, name: str, **settings: Any
    ) -> tuple[dict[str, list[Callable[..., None]]], WatchedRun]:
        """Start one more watch of the same trainer, with a folder of its own; return its callbacks and its run."""
        trainer = self.trainer
        trainer.save_dir = self.save_dir / name
        trainer.save_dir.mkdir()
        callbacks = {event: list(functions) for event, functions in self.stock.items()}
        for event, callback in StabilityMonitor(**settings).callbacks().items():
            callbacks.setdefault(event, []).append(callback)
        trainer.callbacks = callbacks
        trainer.run_callbacks("on_pretrain_routine_end")
        trainer.run_callbacks("on_train_start")
        trainer.run_callbacks("on_train_epoch_start")
        run = trainer.stability
        self.use_stock()
        return callbacks, run

    def use_stock(self) -> None:
        """Make the trainer the stock one."""
        trainer = self.trainer
        trainer.__class__, trainer.callbacks, trainer.save_dir = (
            self.stock_class,
            self.stock,
            self.save_dir,
        )
        vars(trainer).pop("stability", None)

    def synchronise(self) -> None:
        """Wait for the device."""
        if self.trainer.device.type == "cuda":
            torch.cuda.synchronize()

    def timed(self, steps: int, extra: Callable[[Any], None] | None) -> tuple[float, float]:
        """Take steps; return wall and CPU seconds (CPU seconds of all threads, the trace's flush thread among them)."""
        self.synchronise()
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(steps):
            self.step(extra)
        self.synchronise()
        return time.perf_counter() - wall, time.process_time() - cpu

    def step(self, extra: Callable[[Any], None] | None = None) -> None:
        """Take one whole step.

        Args:
            extra: Called between backward and the optimizer step, where other tools read gradients.
        """
        trainer = self.trainer
        trainer.run_callbacks("on_train_batch_start")
        with autocast(trainer.amp, device=trainer.device.type):
            batch = trainer.preprocess_batch(dict(self.batch))
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
        if extra:
            extra(trainer)
        trainer.optimizer_step()
        shown = trainer.tloss.values() if isinstance(trainer.tloss, dict) else trainer.tloss
        _ = "".join(
            f"{value:11.4g}" for value in shown
        )  # the progress bar reads the losses: stock waits here, too
        trainer.run_callbacks("on_train_batch_end")
