"""A suite with what the user changed of it, checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo_stability.benchmarks.suite import Suite
from yolo_stability.compat.cfg import check_keys, check_model, check_values
from yolo_stability.config import OWN_KEYS, make_settings
from yolo_stability.core.errors import ConfigError, nearest
from yolo_stability.interventions.switches import Switches

__all__ = ["changed_suite", "check_arms"]

_PER_RUN = frozenset({"seed", "project", "name", "exist_ok", "resume", "save_dir", "task", "mode"})
"""Keys that a suite sets itself, run by run."""


def changed_suite(
    suite: Suite,
    *,
    seeds: int | None,
    arms: str | Sequence[str] | None,
    model: str | None,
    data: str | None,
    task: str | None,
    overrides: Mapping[str, Any],
) -> Suite:
    """Return the suite with what the user changed."""
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
    for key in sorted(_PER_RUN & set(overrides)):
        raise ConfigError(
            f"{key}= is set by the suite, run by run; leave it out.{nearest(key, ['seeds', 'out'])}"
        )
    own = {k: v for k, v in overrides.items() if k in OWN_KEYS}
    theirs = check_values(
        check_keys({k: v for k, v in overrides.items() if k not in OWN_KEYS}, OWN_KEYS)
    )
    make_settings(**own)
    changes["overrides"] = {**suite.overrides, **theirs, **own}
    return suite.changed(changes)


def _model_for(model: str, task: str) -> str:
    """Return the model of a task: `yolo11n.yaml` stands for `yolo11n-pose.yaml` in pose."""
    path = Path(model)
    plain = path.stem.removesuffix("-pose")
    return str(path.with_name(f"{plain}{'-pose' if task == 'pose' else ''}{path.suffix}"))


def check_arms(suite: Suite) -> None:
    """Refuse before the first run what would end each of them."""
    for arm in suite.arms:
        for task in suite.tasks:
            settings = suite.settings(arm, task, 0)
            own = {k: v for k, v in settings.items() if k in OWN_KEYS}
            check_model(str(settings["model"]))
            try:
                check_values(
                    check_keys({k: v for k, v in settings.items() if k not in own}, OWN_KEYS)
                )
                Switches(make_settings(**own))
            except ConfigError as error:
                raise ConfigError(f"arm '{arm}', {task}: {error}") from None
