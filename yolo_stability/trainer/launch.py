"""Starts Ultralytics trainings with a monitor attached."""

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
    """Return the model object that the `yolo` command would create.

    Args:
        model: Path or name of a model, or a model object, which is returned unchanged.
        task: Task; None for the task stored in the model.
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
        monitor: Monitor, attached for this training only.
        overrides: Ultralytics training arguments.
        trainer_class: Custom trainer class; None for the default class of the task.

    Raises:
        ConfigError: `resume=True` with a checkpoint that cannot be resumed.
    """
    from yolo_stability.trainer.trainers import stability_class  # slow: imports every task

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
    """Reject `resume` for a checkpoint without training state.

    Ultralytics would silently start a new training on its default dataset.
    """
    if overrides.get("resume") is not True:
        return
    checkpoint = getattr(model, "ckpt", None) or {}
    if checkpoint.get("epoch", -1) < 0 or checkpoint.get("optimizer") is None:
        raise ConfigError(
            f"{getattr(model, 'ckpt_path', None) or model} cannot be resumed: its run has ended. "
            "Omit resume and set data= to start a new training from its weights."
        )


def final_metrics(model: Any) -> dict[str, float]:
    """Return the final metrics of a model's latest training by name, non-finite ones included."""
    trainer: Trainer = model.trainer
    metrics = getattr(trainer, "metrics", None) or {}
    if any(isinstance(v, Mapping) for v in metrics.values()):  # several datasets: nested by run
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
