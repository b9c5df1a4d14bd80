"""`train`: one watched and guarded Ultralytics training, from arguments to result."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolo_stability.compat.cfg import check_keys, check_model, check_values
from yolo_stability.config import OWN_KEYS, StabilitySettings, make_settings
from yolo_stability.core.errors import TraceError, printable
from yolo_stability.core.types import Trace
from yolo_stability.data.resolve import resolve_data
from yolo_stability.diagnosis.diagnose import diagnose_trace
from yolo_stability.trace import FOLDER, SCHEMA_VERSION, empty_trace
from yolo_stability.trainer.launch import final_metrics, load_model, run_training
from yolo_stability.trainer.messages import LOGGED, RunMessages
from yolo_stability.trainer.monitor import StabilityMonitor
from yolo_stability.trainer.result import RunResult

__all__ = ["CheckedKeys", "check_training_keys", "train", "train_checked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedKeys:
    """Validated arguments of a training.

    Attributes:
        settings: yolo_stability options.
        overrides: Ultralytics arguments, normalized by Ultralytics' own check.
        trainer_class: Custom trainer class; None for the default class of the task.
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
        task: detect, pose, ...; None for the task stored in the model.
        model: Path or name of a model (`yolo26n.yaml`, `last.pt`), or a `YOLO` object.
        data: Any dataset that Ultralytics accepts, a folder in COCO layout, or one of the embedded
            datasets `shapes` (detect) and `figures` (pose). For a list, Ultralytics trains on each
            dataset in turn, starting from the same weights; the result is that of the last one. May
            be omitted only to resume.
        overrides: Ultralytics training arguments and yolo_stability options (`guard`, `clip`,
            `norm`, `lr_mult`, ...; see `StabilityMonitor`); `trainer` sets a custom trainer class.

    Returns:
        Run folder, trace, final metrics and diagnosis; `stopped` is the reason why the guard,
        `fail_on` or a rescue ended the run early.

    Raises:
        ConfigError: An argument is unknown or has an invalid value, or the model does not exist.
        DataError: The dataset does not exist or does not match the task.

    Example:
        >>> import contextlib, io, tempfile
        >>> from yolo_stability import train
        >>> settings = {"epochs": 1, "imgsz": 32, "batch": 8, "nbs": 8, "fraction": [16, 4]}
        >>> quiet = {"device": "cpu", "workers": 0, "plots": False, "verbose": False}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with contextlib.redirect_stdout(io.StringIO()):  # hides the progress bars
        ...         result = train(
        ...             model="yolo26n.yaml", data="shapes", project=folder,
        ...             clip="norm:1", **settings, **quiet,
        ...         )
        >>> result.trace.header.effective["clip"]
        'norm:1'
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
    """Validate the arguments that Python code passes to `train`.

    Args:
        model: Model, as for `train`.
        keys: All other arguments of `train` except `data`.

    Raises:
        ConfigError: An argument is unknown or has an invalid value, or the model does not exist.
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
    trace_version: int = SCHEMA_VERSION,
    messages: RunMessages = LOGGED,
) -> RunResult:
    """Train with arguments that have been validated, such as those of the command line.

    Args:
        task: Task, as for `train`.
        model: Model, as for `train`; a name must have passed `check_model`.
        data: Dataset, as for `train`.
        settings: Result of `make_settings`.
        overrides: Ultralytics arguments, as returned by `check_values`.
        trainer_class: Custom trainer class; None for the default class of the task.
        trace_version: Version of the trace; an older one to repeat a run of that time.
        messages: Receives notes about the dataset and warnings; Ultralytics' log by default.

    Returns:
        The result of the training, as from `train`.

    Raises:
        ConfigError: A setting is incompatible with the others or with the model.
        DataError: The dataset does not exist or does not match the task.
    """
    overrides = dict(overrides)
    yolo = load_model(model, task)
    requested = {"task": yolo.task, "model": _text(model, yolo), "data": data, **overrides}
    monitor = StabilityMonitor.from_settings(
        settings, requested=requested, trace_version=trace_version
    )
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
    """Return the trace of a finished training; an empty one if not even its header was written."""
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
    """Return the dataset in the form Ultralytics expects, and report what was imported."""
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
