"""Reads `results.csv`, also of YOLOv5 and of a run that was killed, as arrays over its epochs."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolo_stability.core.errors import TraceError
from yolo_stability.trace.arrays import Bools, EpochSeries, Floats

__all__ = ["as_number", "epoch_series", "holds_number", "numbers_of", "read_table"]

Row = Mapping[str, str]

_FITNESS = ("metrics/mAP50-95(B)", "metrics/mAP50-95(M)", "metrics/mAP50-95(P)")
_ACCURACY = ("metrics/accuracy_top1", "metrics/accuracy_top5")
_RESULTS = ("val/", "metrics/")
_KEPT = ("train/", *_RESULTS)
_MOST_EPOCHS = 10_000_000


def read_table(file: Path) -> list[dict[str, str]]:
    """Return the rows of a table by epoch, with the names of its columns stripped.

    Of a repeated epoch the last row counts. A last row that a kill has truncated is dropped.

    Raises:
        TraceError: The file is not a readable table with training losses.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            table = [
                {str(k).strip(): (v or "").strip() for k, v in row.items() if isinstance(v, str)}
                for row in csv.DictReader(text)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TraceError(f"'{file}' cannot be read: {error}.") from error
    names = [name for name in (table[0] if table else {}) if name.startswith("train/")]
    rows = [row for row in table if all(holds_number(row.get(name)) for name in names)]
    if rows and rows[-1] is table[-1] and len(rows[-1]) < len(table[0]):
        rows.pop()
    if not (names and rows):
        raise TraceError(
            f"'{file}' contains no training losses; is it the results.csv of a training?"
        )
    number = numbers_of(rows)
    last = {epoch: index for index, epoch in enumerate(number)}
    return [rows[index] for _, index in sorted(last.items())]


def epoch_series(rows: Sequence[Row], *, validates: bool | None) -> EpochSeries:
    """Return the rows of a table as epochs.

    Args:
        rows: Rows from `read_table`.
        validates: The setting `val`; None where it is unknown. Without it a row holds the results
            of the last validation again, or 0 before the first.
    """
    names = [name for name in rows[0] if name.startswith(_KEPT)]
    values = {
        name: np.array([as_number(row.get(name)) for row in rows], dtype=np.float64)
        for name in names
    }
    missing = {
        name: np.array([not holds_number(row.get(name)) for row in rows], dtype=bool)
        for name in names
    }
    validated = _validated(rows, values, missing, validates)
    return EpochSeries(
        epoch=np.array(numbers_of(rows), dtype=np.int64),
        validated=validated,
        fitness=np.where(validated, _fitness(values, len(rows)), np.nan),
        values=values,
        missing=missing,
        steps=np.full(len(rows), -1, dtype=np.int64),
    )


def numbers_of(rows: Sequence[Row]) -> list[int]:
    """Return the epoch of each row, counted from 0; its position where the table names none.

    Args:
        rows: Rows of a table.
    """
    named = [as_number(row.get("epoch")) for row in rows]
    if not all(0 <= value < _MOST_EPOCHS for value in named):
        return list(range(len(rows)))
    first = min(1, int(min(named)))  # YOLOv5 and Ultralytics 8.0 count from 0, later ones from 1
    return [int(value) - first for value in named]


def _validated(
    rows: Sequence[Row],
    values: Mapping[str, Floats],
    missing: Mapping[str, Bools],
    validates: bool | None,
) -> Bools:
    """Return which rows hold the results of a validation of their own."""
    names = [name for name in values if name.startswith(_RESULTS)]
    metrics = [name for name in names if name.startswith("metrics/")]
    known = np.zeros(len(rows), dtype=bool)
    for name in metrics:
        known |= ~missing[name]
    if validates or not names:
        return known
    table = np.array([values[name] for name in names])
    same = np.zeros(len(rows), dtype=bool)
    same[1:] = [
        all(rows[i].get(name) == rows[i - 1].get(name) for name in names)
        for i in range(1, len(rows))
    ]
    if validates is None:  # a model that has broken down repeats NaN, 0, or one class for all
        alive = np.array([values[name] for name in metrics])
        same &= np.any(np.isfinite(alive) & (alive != 0), axis=0)
        same &= np.all(np.isfinite(table), axis=0)
    else:
        same |= np.all(table == 0, axis=0)
    known &= ~same
    return known


def _fitness(values: Mapping[str, Floats], size: int) -> Floats:
    """Return Ultralytics' fitness: mAP50-95 summed over boxes, masks and keypoints, or accuracy."""
    if all(name in values for name in _ACCURACY):
        top1, top5 = (values[name] for name in _ACCURACY)
        return (top1 + top5) / 2
    fitness = np.zeros(size)
    for name in _FITNESS:
        fitness += np.nan_to_num(values.get(name, 0.0))
    return fitness if any(name in values for name in _FITNESS) else np.full(size, np.nan)


def as_number(text: Any) -> float:
    """Return a cell as a number; NaN where it holds none."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan


def holds_number(text: Any) -> bool:
    """Return whether a cell contains a number, including NaN and Inf."""
    written = str(text).strip().lower().lstrip("+-")
    return not math.isnan(as_number(text)) or written == "nan"
