"""Fitness of a run (mAP50 of its task), and grouping of runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import fmean

from yolo_stability.benchmarks.rows import RunResultRow
from yolo_stability.diagnosis.run_end import DIED

__all__ = [
    "Key",
    "by_task_and_model",
    "final_fitness",
    "finite_or_none",
    "fitness_of",
    "key_of",
    "mean_of_known",
]


_FITNESS = {"detect": "metrics/mAP50(B)", "pose": "metrics/mAP50(P)"}

Key = tuple[str, str, str, int]


def fitness_of(row: RunResultRow) -> float | None:
    """Return the final mAP50 of a run's task; 0 if the run died, None without validation."""
    return final_fitness(row.task, row.outcome, row.metrics)


def final_fitness(task: str, outcome: str, metrics: Mapping[str, float | None]) -> float | None:
    """Return the final mAP50 of a task; 0 if the run died, None without validation.

    Args:
        task: detect or pose.
        outcome: Outcome of the run, as in `RunResultRow.outcome`.
        metrics: Final metrics by name.
    """
    if outcome in DIED:
        return 0.0
    value = metrics.get(_FITNESS.get(task, _FITNESS["detect"]))
    return value if value is not None and math.isfinite(value) else None


def key_of(row: RunResultRow) -> Key:
    """Return arm, task, model and seed of a run."""
    return row.arm, row.task, row.model, row.seed


def by_task_and_model(rows: Iterable[RunResultRow]) -> dict[tuple[str, str], list[RunResultRow]]:
    """Return runs by task and model, in order of first appearance."""
    groups: dict[tuple[str, str], list[RunResultRow]] = {}
    for row in rows:
        groups.setdefault((row.task, row.model), []).append(row)
    return groups


def finite_or_none(value: float) -> float | None:
    """Return the value, or None if it is not finite and so cannot be stored in JSON."""
    return float(value) if math.isfinite(value) else None


def mean_of_known(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are not None; None if there are none."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
