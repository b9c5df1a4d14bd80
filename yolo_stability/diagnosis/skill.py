"""Skill of a model at each validation: 0 for a model that does nothing, 1 for a perfect one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.trace.arrays import Floats, Ints

__all__ = ["TOP1", "Skill", "skill_of"]

TOP1 = "metrics/accuracy_top1"
_STRICT = ("metrics/mAP50-95", "metrics/mAP_0.5:0.95")
"""Metric of detectors, as Ultralytics and as YOLOv5 name it."""
_KINDS: Mapping[str, tuple[str, ...]] = {
    "detect": ("(B)", ""),
    "obb": ("(B)", ""),
    "pose": ("(P)",),
    "segment": ("(M)",),
}
"""Suffixes of that metric by task; a model of boxes and keypoints is measured by its keypoints."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Skill:
    """Skill at each validation; V validations.

    Attributes:
        column: Column of `results.csv` that it derives from.
        name: Name of that metric in a sentence.
        row: (V,) index into the epochs.
        epoch: (V,) epoch, counted from 0.
        metric: (V,) the metric; NaN where it was not finite.
        value: (V,) skill; 0 where the metric was not finite.
    """

    column: str
    name: str
    row: Ints
    epoch: Ints
    metric: Floats
    value: Floats


def skill_of(context: DiagnosisContext) -> Skill | None:
    """Return the skill of a run; None for a task without a measure.

    Detection and oriented boxes: mAP50-95 of (B); pose: of (P) alone; segmentation: of (M) alone;
    classification: (top1 - m) / (1 - m), with m the largest class's share of the validation set,
    else one over the number of classes.

    Args:
        context: The run; the task is that of its settings, else follows from its columns.
    """
    epochs = context.epochs
    column = _column(context)
    chance = _chance(context) if column == TOP1 else 0.0
    if column is None or chance is None or not chance < 1:
        return None
    known = epochs.validated & ~epochs.missing.get(column, np.isnan(epochs.values[column]))
    row = np.flatnonzero(known)
    metric = epochs.values[column][row]
    metric = np.where(np.isfinite(metric), metric, np.nan)
    value = (np.nan_to_num(metric, nan=chance) - chance) / (1 - chance)
    name = "top-1 accuracy" if column == TOP1 else column.removeprefix("metrics/")
    return Skill(
        column=column,
        name=name,
        row=row.astype(np.int64),
        epoch=epochs.epoch[row],
        metric=metric,
        value=np.maximum(value, 0.0),
    )


def _column(context: DiagnosisContext) -> str | None:
    """Return the column of the metric that measures the task; None without one."""
    present = context.epochs.values
    task = context.settings.get("task")
    if task == "classify" or (task is None and TOP1 in present):
        return TOP1 if TOP1 in present else None
    if task is None:
        found = [name for name, ends in _KINDS.items() if _first(present, ends) is not None]
        task = found[-1] if found else None  # the most specific one
    return _first(present, _KINDS.get(str(task), ()))


def _first(present: Mapping[str, Floats], ends: tuple[str, ...]) -> str | None:
    names = (f"{stem}{end}" for end in ends for stem in _STRICT)
    return next((name for name in names if name in present), None)


def _chance(context: DiagnosisContext) -> float | None:
    """Return the accuracy of always naming the largest class; None where it is unknown."""
    share, classes = context.settings.get("val_largest_share"), context.settings.get("nc")
    if isinstance(share, int | float) and not isinstance(share, bool) and 0 < share <= 1:
        return float(share)
    if isinstance(classes, int) and not isinstance(classes, bool) and classes > 0:
        return 1 / classes
    return None
