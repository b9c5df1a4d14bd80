"""Evidence that several rules share: validations, losses of boxes and their gains, settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.trace.arrays import Bools, EpochSeries, Floats, Ints

__all__ = [
    "BOX_GAINS",
    "Validations",
    "box_gain",
    "epochs_text",
    "last_row_of",
    "not_finite",
    "skill_columns",
    "validations",
]

BOX_GAINS: Mapping[str, str | None] = {
    "box_loss": "box",
    "giou_loss": None,
    "dfl_loss": "dfl",
    "l1_loss": "dfl",
}
"""Loss items of boxes with the argument that is their gain; None where the gain is fixed."""

_SKILLS = ("mAP50-95", "mAP_0.5:0.95", "accuracy_top1", "mIoU")
"""Metrics of Ultralytics and YOLOv5 that are 0 for a model that has learned nothing."""
_SPECIFIC = ("(P)", "(M)")
"""Kinds that measure a task better than its boxes do."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Validations:
    """The epochs of a run that ended with a validation of their own; V validations.

    Attributes:
        epoch: (V,) epoch, counted from 0.
        values: (V,) values by column of `results.csv`; NaN where missing.
        missing: (V,) by column whether the cell is missing.
    """

    epoch: Ints
    values: Mapping[str, Floats]
    missing: Mapping[str, Bools]

    def columns(self, prefix: str) -> list[str]:
        """Return the columns with a prefix, in the order of the table."""
        return [name for name in self.values if name.startswith(prefix)]


def validations(epochs: EpochSeries) -> Validations:
    """Return the epochs with a validation of their own.

    With `val=False` Ultralytics writes zeros, or repeats the row of the last validation.
    """
    rows = epochs.validated & ~_repeated(epochs)
    return Validations(
        epoch=epochs.epoch[rows],
        values={name: column[rows] for name, column in epochs.values.items()},
        missing={name: column[rows] for name, column in epochs.missing.items()},
    )


def _repeated(epochs: EpochSeries) -> Bools:
    """Return which rows repeat all measured values of the row before, some of them not 0.

    Zeros and NaN of two validations may well be equal.
    """
    measured = [c for name, c in epochs.values.items() if name.startswith(("val/", "metrics/"))]
    if epochs.epoch.size < 2 or not measured:
        return np.zeros(epochs.epoch.size, dtype=bool)
    table = np.stack(measured)
    same = (table[:, 1:] == table[:, :-1]) | (np.isnan(table[:, 1:]) & np.isnan(table[:, :-1]))
    known = np.isfinite(table[:, 1:]) & (table[:, 1:] != 0)
    return np.concatenate(([False], same.all(axis=0) & known.any(axis=0)))


def not_finite(table: EpochSeries | Validations, column: str) -> Bools:
    """Return where a column holds NaN or Inf, as opposed to nothing."""
    values = table.values[column]
    missing = table.missing.get(column, np.zeros(values.size, dtype=bool))
    bad: Bools = ~np.isfinite(values) & ~missing
    return bad


def skill_columns(columns: list[str]) -> list[str]:
    """Return the columns of metrics that measure skill, the one that measures the task first.

    Example:
        >>> skill_columns(["metrics/mAP50-95(B)", "metrics/mAP50(M)", "metrics/mAP50-95(M)"])
        ['metrics/mAP50-95(M)', 'metrics/mAP50-95(B)']
    """
    found = [c for c in columns if c.removeprefix("metrics/").startswith(_SKILLS)]
    return sorted(found, key=lambda name: not name.endswith(_SPECIFIC))


def box_gain(context: DiagnosisContext, item: str) -> float | None:
    """Return the gain of a loss item of boxes; None where it is unknown.

    Ultralytics' default gains are above 0, and settings name those that differ from them.

    Args:
        context: The run.
        item: Name of the item, such as `box_loss`.
    """
    settings, name = context.settings, BOX_GAINS[item]
    if not settings.get("task") and name not in settings:
        return None
    value = 1.0 if name is None else settings.get(name, 1.0)
    try:
        gain = float(value)
    except (TypeError, ValueError):
        return None
    return gain if math.isfinite(gain) else None


def last_row_of(context: DiagnosisContext, epoch: int) -> int:
    """Return the position of the last step of an epoch; of one without steps, the last before.

    Args:
        context: The run, with at least one step.
        epoch: Epoch, counted from 0.
    """
    same = np.flatnonzero(context.run.epoch == epoch)
    if not same.size:
        same = np.flatnonzero(context.run.epoch < epoch)
    return int(same[-1]) if same.size else 0


def epochs_text(first: int, last: int, *, lasting: bool = False) -> str:
    """Describe a range of epochs, which count from 0 here and from 1 in text.

    Args:
        first: First epoch.
        last: Last epoch.
        lasting: Whether it extends to the end of the run.

    Example:
        >>> epochs_text(0, 5), epochs_text(3, 3), epochs_text(18, 27, lasting=True)
        ('in epochs 1 to 6', 'in epoch 4', 'from epoch 19 on')
    """
    if lasting:
        return f"from epoch {first + 1} on"
    return f"in epoch {first + 1}" if first == last else f"in epochs {first + 1} to {last + 1}"
