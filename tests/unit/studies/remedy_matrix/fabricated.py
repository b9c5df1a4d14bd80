"""Benchmark folders made by hand: runs whose end and fitness are known, without any training or
trace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolo_stability.benchmarks.plan import OUTCOME, RunOutcome, run_digest
from yolo_stability.benchmarks.rows import RunResultRow
from yolo_stability.benchmarks.suite import Suite

METRIC = {"detect": "metrics/mAP50(B)", "pose": "metrics/mAP50(P)"}


def matrix_suite(**changes: Any) -> Suite:
    """Two causes, three remedies: one of them repeats the control, one takes a cause back."""
    content = {
        "name": "mine",
        "control": "control",
        "causes": ["no-norm", "sgd-lr-100"],
        "remedies": ["remedy-agc", "remedy-adamw", "group-norm"],
        "tasks": ["detect"],
        "seeds": 5,
        **changes,
    }
    return Suite.model_validate(content)


def fill(
    folder: Path, suite: Suite, fitness: Mapping[str, list[float | None]], outcome: str = "finished"
) -> Path:
    """Write a benchmark folder: for each arm one run a seed with that fitness; None is a run that
    was stopped."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = {"schema_version": 1, "suite": suite.model_dump(), "runs": []}
    (folder / "plan.json").write_text(json.dumps(plan))
    for arm, values in fitness.items():
        for task in suite.tasks:
            for seed, value in enumerate(values):
                settings = suite.settings(arm, task, seed)
                place = folder / "runs" / arm / task / Path(settings["model"]).stem / str(seed)
                place.mkdir(parents=True, exist_ok=True)
                digest = run_digest(settings, {}, {})
                spec = {
                    "arm": arm,
                    "task": task,
                    "seed": seed,
                    "settings": settings,
                    "digest": digest,
                }
                (place / "spec.json").write_text(json.dumps(spec))
                metrics = {METRIC[task]: value or 0.0}
                RunOutcome(
                    digest=digest,
                    outcome=outcome if value is not None else "stopped",
                    metrics=metrics,
                ).write(place)
                assert (place / OUTCOME).is_file()
    return folder


def row(seed: int, fitness: float | None, **changes: Any) -> RunResultRow:
    """A run that finished, unless something else is said."""
    values: dict[str, Any] = {
        "arm": "arm",
        "task": "detect",
        "model": "yolo26n.yaml",
        "seed": seed,
        "outcome": "finished",
        "verdict": "stable",
        "fitness": fitness,
        "steps": 128,
    }
    return RunResultRow(**{**values, **changes})


def rows(*fitness: float | None, **changes: Any) -> dict[int, RunResultRow]:
    """Runs of an arm by seed."""
    return {seed: row(seed, value, **changes) for seed, value in enumerate(fitness)}
