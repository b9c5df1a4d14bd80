"""Checks the arguments of a probe before anything is built: settings, keys, model and task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolo_stability.compat.cfg import check_keys, check_model, check_task, check_values
from yolo_stability.config import MODEL_SWITCHES, OWN_KEYS, is_default
from yolo_stability.core.errors import ConfigError
from yolo_stability.trainer.base_monitor import Monitor

__all__ = ["ProbeRequest", "checked_probe_request", "grid_monitors", "make_probe_request"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRequest:
    """The checked arguments of a probe.

    Attributes:
        model: Path or name of a model, or a `YOLO` object.
        data: One dataset, as `train` takes it.
        task: The task; None for that of the model.
        monitors: One monitor per setting of the grid, with its switches.
        overrides: Ultralytics keys, as its own check normalizes them.
    """

    model: Any
    data: str | Path
    task: str | None
    monitors: tuple[Monitor, ...]
    overrides: Mapping[str, Any]


def make_probe_request(
    *,
    model: Any,
    data: str | Path,
    task: str | None = None,
    grid: Sequence[Mapping[str, Any]],
    overrides: Mapping[str, Any],
) -> ProbeRequest:
    """Check the arguments of a call from Python.

    Args:
        model: Path or name of a model, or a `YOLO` object.
        data: One dataset, as `train` takes it.
        task: The task; None for that of the model.
        grid: Model switches of each setting; empty for the stock model.
        overrides: Ultralytics keys.

    Returns:
        The checked request.

    Raises:
        ConfigError: A key or value is invalid, or has no effect in a probe.
    """
    monitors = grid_monitors(grid)
    checked = check_values(check_keys(dict(overrides), OWN_KEYS))
    return checked_probe_request(
        model=model, data=data, task=task, monitors=monitors, overrides=checked
    )


def grid_monitors(grid: Sequence[Mapping[str, Any]]) -> tuple[Monitor, ...]:
    """Return one monitor per setting.

    Args:
        grid: Model switches of each setting; empty for the stock model.

    Raises:
        ConfigError: A switch is invalid, or has no effect in a probe.
    """
    return tuple(_monitor(settings) for settings in grid)


def checked_probe_request(
    *,
    model: Any,
    data: str | Path,
    task: str | None,
    monitors: tuple[Monitor, ...],
    overrides: Mapping[str, Any],
) -> ProbeRequest:
    """Check the requirements of a probe beyond valid values, and return the request.

    Args:
        model: Path or name of a model, or a `YOLO` object.
        data: One dataset, as `train` takes it.
        task: The task; None for that of the model.
        monitors: From `grid_monitors`.
        overrides: Ultralytics keys, as `check_values` returns them.

    Raises:
        ConfigError: The keys do not define a single batch, or the model does not fit the task.
    """
    _check_batch(overrides)
    if isinstance(model, str | Path):
        check_model(str(model))
        if task is not None:
            check_task(str(model), task)
    return ProbeRequest(model=model, data=data, task=task, monitors=monitors, overrides=overrides)


def _monitor(settings: Mapping[str, Any]) -> Monitor:
    """Return a monitor for one setting; reject switches without effect in a probe."""
    monitor = Monitor(**settings)
    for key, value in monitor.settings.model_dump().items():
        if key not in MODEL_SWITCHES and not is_default(key, value):
            raise ConfigError(
                f"{key}={value} has no effect in a probe, which takes no optimizer step. Remove "
                f"it, or use it in a training; a probe takes {', '.join(MODEL_SWITCHES)}."
            )
    return monitor


def _check_batch(overrides: Mapping[str, Any]) -> None:
    """Raise ConfigError for Ultralytics keys that do not define a single batch."""
    batch = overrides.get("batch", 1)
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise ConfigError(
            f"Invalid value batch={batch}: a probe needs a number of images, such as batch=8."
        )
    if overrides.get("resume"):
        raise ConfigError(
            "resume= has no effect in a probe, which does not train. Pass the checkpoint as model=."
        )
    if len(str(overrides.get("device", "")).split(",")) > 1:
        raise ConfigError(
            f"Invalid value device={overrides['device']}: a probe runs on a single device."
        )
