"""Applies the user's changes to a suite and validates them before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo_stability.benchmarks.run_validator import RunValidator
from yolo_stability.benchmarks.suite import Suite
from yolo_stability.compat.cfg import check_keys
from yolo_stability.config import OWN_KEYS
from yolo_stability.core.errors import ConfigError
from yolo_stability.core.suggestions import nearest

__all__ = ["checked_suite"]

_PER_RUN = frozenset({"seed", "project", "name", "exist_ok", "resume", "save_dir", "task", "mode"})
"""Keys that a suite sets itself for each run."""


def checked_suite(
    suite: Suite,
    *,
    seeds: int | None,
    arms: str | Sequence[str] | None,
    model: str | None,
    data: str | None,
    task: str | None,
    overrides: Mapping[str, Any],
) -> Suite:
    """Return the suite with the user's changes, validated for every arm so that no run can fail.

    Args:
        suite: A shipped suite, or one from a user's file.
        seeds: Number of seeds, counted from 0; None for the number in the suite.
        arms: Names of arms, as a list or separated by commas; None for those of the suite.
        model: Model for every task; None for those of the suite.
        data: Dataset for every task; None for those of the suite.
        task: The only task to run; None for those of the suite.
        overrides: Ultralytics arguments and yolo_stability options for every arm.

    Returns:
        The changed suite.

    Raises:
        ConfigError: A change is invalid by itself or in combination with an arm.
    """
    changes: dict[str, Any] = {}
    if seeds is not None:
        changes["seeds"] = seeds
    if arms is not None:
        names = arms.split(",") if isinstance(arms, str) else list(arms)
        changes["arms"] = names if suite.control in names else [suite.control, *names]
    if task is not None:
        changes["tasks"] = [task]
    tasks = changes.get("tasks", suite.tasks)
    if model is not None:
        changes["models"] = {t: _model_for(model, t) for t in tasks}
    if data is not None:
        changes["data"] = dict.fromkeys(tasks, data)
    validator = RunValidator()
    for key in sorted(_PER_RUN & set(overrides)):
        raise ConfigError(
            f"{key}= is set by the suite for each run; omit it.{nearest(key, ['seeds', 'out'])}"
        )
    own = {k: v for k, v in overrides.items() if k in OWN_KEYS}
    theirs = {k: v for k, v in overrides.items() if k not in OWN_KEYS}
    theirs = validator.values(check_keys(theirs, OWN_KEYS))
    validator.settings(own)
    changes["overrides"] = {**suite.overrides, **theirs, **own}
    changed = suite.changed(changes)
    _check_arms(changed, validator)
    return changed


def _model_for(model: str, task: str) -> str:
    """Return the model for a task; for pose, `yolo11n.yaml` becomes `yolo11n-pose.yaml`."""
    path = Path(model)
    plain = path.stem.removesuffix("-pose")
    return str(path.with_name(f"{plain}{'-pose' if task == 'pose' else ''}{path.suffix}"))


def _check_arms(suite: Suite, validator: RunValidator) -> None:
    """Validate the settings of every arm and task."""
    for arm in suite.arms:
        for task in suite.tasks:
            keys = suite.settings(arm, task, 0)
            validator.model(str(keys["model"]))
            try:
                validator.run(keys)
            except ConfigError as error:
                raise ConfigError(f"arm '{arm}', {task}: {error}") from None
