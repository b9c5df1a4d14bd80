"""Starts a training of Ultralytics with a monitor on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolo_stability.compat.ultralytics import Trainer
from yolo_stability.core.errors import ConfigError
from yolo_stability.trainer.base_monitor import Monitor, settings_for_workers

__all__ = ["final_metrics", "load_model", "run_training"]


def load_model(model: Any, task: str | None) -> Any:
    """Return the model object that the `yolo` command would make.

    Args:
        model: Path or name, or an object that is one already.
        task: Task, or None to take the model's own.
    """
    if not isinstance(model, str | Path):
        return model
    from ultralytics import RTDETR, YOLO

    if "rtdetr" in Path(model).stem.lower():
        return RTDETR(str(model))
    return YOLO(str(model), task=task)


def run_training(
    model: Any, monitor: Monitor, overrides: dict[str, Any], trainer_class: Any = None
) -> None:
    """Train a model under a monitor.

    Args:
        model: A YOLO model.
        monitor: Attached for this training only.
        overrides: Keys of Ultralytics' training.
        trainer_class: A trainer class of the user; None for that of the task.
    """
    from yolo_stability.trainer.trainers import stability_class  # loads every task of Ultralytics

    _check_resumable(model, overrides)
    trainer_class = trainer_class or model._smart_load("trainer")
    before = {event: list(functions) for event, functions in model.callbacks.items()}
    monitor.attach(model)
    try:
        with settings_for_workers(monitor):
            model.train(trainer=stability_class(trainer_class), **overrides)
        if getattr(model.trainer, "ddp", False):
            monitor.read_back(model.trainer)
    finally:
        model.callbacks.clear()
        model.callbacks.update(before)


def _check_resumable(model: Any, overrides: dict[str, Any]) -> None:
    """Refuse to resume what holds no training; Ultralytics would start a new one on its default data."""
    if overrides.get("resume") is not True:
        return
    checkpoint = getattr(model, "ckpt", None) or {}
    if checkpoint.get("epoch", -1) < 0 or checkpoint.get("optimizer") is None:
        raise ConfigError(
            f"{getattr(model, 'ckpt_path', None) or model} holds no training to go on with: its run has ended. "
            "Leave resume out, and give data=, to train on from its weights."
        )


def final_metrics(model: Any) -> dict[str, float]:
    """Return the finite-or-not final metrics of a model's last training by name."""
    trainer: Trainer = model.trainer
    metrics = getattr(trainer, "metrics", None) or {}
    if any(isinstance(v, Mapping) for v in metrics.values()):  # several datasets: by run and name
        metrics = {
            f"{run}/{k}": v for run, values in metrics.items() for k, v in (values or {}).items()
        }
    found = {
        str(k): float(v)
        for k, v in metrics.items()
        if isinstance(v, int | float) or hasattr(v, "item")
    }
    fitness = getattr(trainer, "best_fitness", None)
    if fitness is not None and math.isfinite(float(fitness)):
        found["fitness"] = float(fitness)
    return found
