"""The task's own mAP50 of a run, and the runs that belong together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import fmean

from yolo_stability.benchmarks.rows import RunResultRow
from yolo_stability.diagnosis.diagnose import DIED

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
    """Return the task's own mAP50 at the end; 0 for a run that died, None where no validation told it."""
    return final_fitness(row.task, row.outcome, row.metrics)


def final_fitness(task: str, outcome: str, metrics: Mapping[str, float | None]) -> float | None:
    """Return the same of a run that has no row yet.

    Args:
        task: detect or pose.
        outcome: How it ended, as `RunResultRow.outcome` has it.
        metrics: Its final metrics by name.
    """
    if outcome in DIED:
        return 0.0
    value = metrics.get(_FITNESS.get(task, _FITNESS["detect"]))
    return value if value is not None and math.isfinite(value) else None


def key_of(row: RunResultRow) -> Key:
    """Return arm, task, model and seed of a run."""
    return row.arm, row.task, row.model, row.seed


def by_task_and_model(rows: Iterable[RunResultRow]) -> dict[tuple[str, str], list[RunResultRow]]:
    """Return runs by task and model, in the order in which these first come."""
    groups: dict[tuple[str, str], list[RunResultRow]] = {}
    for row in rows:
        groups.setdefault((row.task, row.model), []).append(row)
    return groups


def finite_or_none(value: float) -> float | None:
    """Return a number that JSON can hold."""
    return float(value) if math.isfinite(value) else None


def mean_of_known(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are not None; None without any."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
