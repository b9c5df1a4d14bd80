"""`train`: one training of Ultralytics, watched and guarded, from arguments to its result."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolo_stability.compat.cfg import check_keys, check_model, check_values
from yolo_stability.config import OWN_KEYS, StabilitySettings, ignored_by_auto, make_settings
from yolo_stability.core.errors import TraceError, printable
from yolo_stability.core.types import Trace
from yolo_stability.data.resolve import resolve_data
from yolo_stability.diagnosis.diagnose import diagnose_trace
from yolo_stability.trace import FOLDER, empty_trace
from yolo_stability.trainer.launch import final_metrics, load_model, run_training
from yolo_stability.trainer.messages import LOGGED, RunMessages
from yolo_stability.trainer.monitor import StabilityMonitor
from yolo_stability.trainer.result import RunResult

__all__ = ["CheckedKeys", "check_training_keys", "train", "train_checked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedKeys:
    """The keys of a training, checked.

    Attributes:
        settings: yolo_stability options.
        overrides: Keys of Ultralytics, as its own check normalizes them.
        trainer_class: A trainer class of the user's own.
    """

    settings: StabilitySettings
    overrides: Mapping[str, Any]
    trainer_class: Any


def train(
    task: str | None = None,
    *,
    model: str | Path | Any,
    data: str | Path | Sequence[str | Path] | None = None,
    **overrides: Any,
) -> RunResult:
    """Train a YOLO model as `model.train(...)` does, watched and guarded.

    Args:
        task: detect, pose, ...; None to take the model's own.
        model: Path or name of a model (`yolo26n.yaml`, `last.pt`), or a `YOLO` object.
        data: Whatever Ultralytics takes, a folder in COCO's own layout, or the embedded sets `shapes` (detect) and
            `figures` (pose). Several in a list are trained on one after the other from the same weights, as
            Ultralytics does; the result is that of the last one. May be left out only to resume.
        overrides: Every key of Ultralytics' training, and every one of `StabilityMonitor` (`guard`, `clip`, `norm`,
            `lr_mult`, ...); `trainer` may be a trainer class of your own.

    Returns:
        Run folder, trace and final metrics; `stopped` says why the guard, `fail_on` or a rescue ended the run early.

    Raises:
        ConfigError: A key or value is impossible, or the model does not exist.
        DataError: The dataset does not exist or does not fit the task.
    """
    keys = check_training_keys(model, overrides)
    return train_checked(
        task,
        model=model,
        data=data,
        settings=keys.settings,
        overrides=keys.overrides,
        trainer_class=keys.trainer_class,
    )


def check_training_keys(model: str | Path | Any, keys: Mapping[str, Any]) -> CheckedKeys:
    """Check what a caller in Python gives to a training.

    Args:
        model: As `train` takes it.
        keys: Every other key but `data`, as `train` takes them.

    Raises:
        ConfigError: A key or value is impossible, or the model does not exist.
    """
    own = {key: keys[key] for key in OWN_KEYS if key in keys}
    theirs = {key: value for key, value in keys.items() if key not in {*OWN_KEYS, "trainer"}}
    theirs = check_values(check_keys(theirs, ()))
    if isinstance(model, str | Path):
        check_model(str(model))
    return CheckedKeys(
        settings=make_settings(**own), overrides=theirs, trainer_class=keys.get("trainer")
    )


def train_checked(
    task: str | None,
    *,
    model: str | Path | Any,
    data: str | Path | Sequence[str | Path] | None,
    settings: StabilitySettings,
    overrides: Mapping[str, Any],
    trainer_class: Any = None,
    messages: RunMessages = LOGGED,
) -> RunResult:
    """Train with keys, values and a model that have been checked, as those of the command line have.

    Args:
        task: As `train` takes it.
        model: As `train` takes it; a name that `check_model` accepts.
        data: As `train` takes it.
        settings: From `make_settings`.
        overrides: Keys of Ultralytics, as `check_values` returns them.
        trainer_class: A trainer class of the user's own.
        messages: Takes notes on the data and warnings; Ultralytics' log unless given.

    Returns:
        What `train` returns.

    Raises:
        ConfigError: A setting does not fit the others or the model.
        DataError: The dataset does not exist or does not fit the task.
    """
    overrides = dict(overrides)
    ignored = ignored_by_auto(overrides)
    yolo = load_model(model, task)
    requested = {"task": yolo.task, "model": _text(model, yolo), "data": data, **overrides}
    monitor = StabilityMonitor.from_settings(settings, requested=requested)
    if ignored:
        messages.warning(ignored)
    if data is not None:
        overrides["data"] = _resolve(data, yolo.task, messages)
    run_training(yolo, monitor, overrides, trainer_class)
    trace = _read_back(monitor, messages)
    return RunResult(
        save_dir=monitor.save_dir,
        trace=trace,
        metrics=final_metrics(yolo),
        stopped=monitor.stopped,
        diagnosis=diagnose_trace(trace) if trace.steps.height else None,
    )


def _read_back(monitor: StabilityMonitor, messages: RunMessages) -> Trace:
    """Return the trace of a finished training; an empty one if the disk did not even take its header."""
    try:
        return monitor.trace
    except TraceError as error:
        if monitor.header is None:
            raise
        messages.warning(f"nothing of this run was recorded. {error}")
        return empty_trace(monitor.save_dir / FOLDER, monitor.header)


def _resolve(
    data: str | Path | Sequence[str | Path], task: str, messages: RunMessages
) -> str | list[str]:
    """Return what to hand to Ultralytics, and report what was imported."""
    if not isinstance(data, str | Path):
        return [str(_resolve(one, task, messages)) for one in data]
    resolved = resolve_data(data, task)
    for note in resolved.notes:
        messages.note(f"data: {printable(note)}")
    return resolved.data


def _text(model: Any, yolo: Any) -> str:
    """Return the name of the model for the header."""
    return (
        os.fspath(model)
        if isinstance(model, str | Path)
        else str(yolo.overrides.get("model") or type(model))
    )
