"""`benchmark`: a suite with what the user changed of it, run to its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo_stability.benchmarks.process.supervisor import PROGRESS
from yolo_stability.benchmarks.progress import SuiteProgress
from yolo_stability.benchmarks.results import BenchmarkResult
from yolo_stability.benchmarks.runner import run_suite
from yolo_stability.benchmarks.suite import Suite, load_suite
from yolo_stability.compat.cfg import check_keys, check_model, check_values
from yolo_stability.config import OWN_KEYS, make_settings
from yolo_stability.core.command_line import typed_command
from yolo_stability.core.errors import ConfigError, nearest
from yolo_stability.interventions.switches import Switches
from yolo_stability.studies.fault_detection import score_labelled
from yolo_stability.studies.remedy_matrix import score_matrix
from yolo_stability.studies.rescue_rate.score import write_rescues

__all__ = ["run_benchmark"]

_PER_RUN = frozenset({"seed", "project", "name", "exist_ok", "resume", "save_dir", "task", "mode"})
"""Keys that a suite sets itself, run by run."""


def run_benchmark(  # noqa: PLR0913 - each is a word of the command line
    suite: str,
    *,
    out: str | Path | None = None,
    jobs: int = 1,
    seeds: int | None = None,
    arms: str | Sequence[str] | None = None,
    executor: str = "local",
    address: str | None = None,
    model: str | None = None,
    data: str | None = None,
    task: str | None = None,
    **overrides: Any,
) -> tuple[BenchmarkResult, Path]:
    """Run a suite and return its result and its folder; see `yolo_stability.benchmark`."""
    chosen = _changed(
        load_suite(suite),
        seeds=seeds,
        arms=arms,
        model=model,
        data=data,
        task=task,
        overrides=overrides,
    )
    _check_arms(chosen)
    folder = Path(out) if out is not None else Path("runs") / "benchmark" / chosen.name
    command = typed_command("benchmark")
    with SuiteProgress(folder, PROGRESS) as progress:
        result = run_suite(
            chosen, folder, progress, jobs=jobs, executor=executor, command=command, address=address
        )
    score_labelled(folder, chosen.arms, chosen.control)
    score_matrix(folder)
    write_rescues(folder, result)
    return result, folder


def _changed(
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


def _check_arms(suite: Suite) -> None:
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
