"""What a probe is asked for, checked before anything is built: settings, keys of Ultralytics, model and task."""

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
    """A probe, checked.

    Attributes:
        model: Path or name of a model, or a `YOLO` object.
        data: Whatever `train` takes as one dataset.
        task: The task; None to take the model's own.
        monitors: One for each setting of the grid; it holds the switches.
        overrides: Keys of Ultralytics, as its own check normalizes them.
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
    """Check what a caller in Python asks for.

    Args:
        model: Path or name of a model, or a `YOLO` object.
        data: Whatever `train` takes as one dataset.
        task: The task; None to take the model's own.
        grid: Switches by key of each setting; empty for the stock model.
        overrides: Keys of Ultralytics.

    Returns:
        The request.

    Raises:
        ConfigError: A key or value is impossible, or cannot show in a probe.
    """
    monitors = grid_monitors(grid)
    checked = check_values(check_keys(dict(overrides), OWN_KEYS))
    return checked_probe_request(
        model=model, data=data, task=task, monitors=monitors, overrides=checked
    )


def grid_monitors(grid: Sequence[Mapping[str, Any]]) -> tuple[Monitor, ...]:
    """Return a monitor for each setting; an impossible one is refused before anything is built.

    Args:
        grid: Switches by key of each setting; empty for the stock model.

    Raises:
        ConfigError: A switch is impossible, or cannot show in a probe.
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
    """Check what a probe demands beyond valid values, and return the request.

    Args:
        model: Path or name of a model, or a `YOLO` object.
        data: Whatever `train` takes as one dataset.
        task: The task; None to take the model's own.
        monitors: From `grid_monitors`.
        overrides: Keys of Ultralytics, as `check_values` returns them.

    Raises:
        ConfigError: The keys make no single batch, or there is no such model for the task.
    """
    _check_batch(overrides)
    if isinstance(model, str | Path):
        check_model(str(model))
        if task is not None:
            check_task(str(model), task)
    return ProbeRequest(model=model, data=data, task=task, monitors=monitors, overrides=overrides)


def _monitor(settings: Mapping[str, Any]) -> Monitor:
    """Return a monitor with the switches of one setting."""
    monitor = Monitor(**settings)
    for key, value in monitor.settings.model_dump().items():
        if key not in MODEL_SWITCHES and not is_default(key, value):
            raise ConfigError(
                f"{key}={value} cannot show in a probe, which takes no optimizer step. Leave it out, or train with it; "
                f"a probe takes {', '.join(MODEL_SWITCHES)}."
            )
    return monitor


def _check_batch(overrides: Mapping[str, Any]) -> None:
    """Refuse keys of Ultralytics that make no single batch."""
    batch = overrides.get("batch", 1)
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise ConfigError(
            f"'batch={batch}' is not possible in a probe: give the number of images, such as batch=8."
        )
    if overrides.get("resume"):
        raise ConfigError(
            "resume= has no place in a probe, which trains nothing. Name the checkpoint as model=."
        )
    if len(str(overrides.get("device", "")).split(",")) > 1:
        raise ConfigError(
            f"'device={overrides['device']}' is not possible: a probe runs on one device."
        )
