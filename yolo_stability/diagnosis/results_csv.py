"""Diagnosis of a stock Ultralytics run from its `results.csv`: one row per epoch, no gradients."""

from __future__ import annotations

import csv
import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np

from yolo_stability.checkpoint.audit import diagnosis_of_audit
from yolo_stability.core.errors import StabilityError, TraceError
from yolo_stability.core.findings import Cause, Diagnosis
from yolo_stability.core.text import count
from yolo_stability.diagnosis.diagnose import diagnose_series
from yolo_stability.trace.arrays import Floats, RunSeries, SeriesEvent

__all__ = ["RESULTS", "diagnose_results_csv", "results_series"]

RESULTS = "results.csv"


def diagnose_results_csv(folder: Path) -> Diagnosis:
    """Diagnose a run from the losses in `results.csv`, one row per epoch."""
    series = results_series(folder / RESULTS)
    found = diagnose_series(series, run_id=folder.name)
    epochs = count(series.step.size, "epoch")
    if found.verdict in {"failed", "unstable"}:
        evidence = (
            "one loss per epoch does not distinguish causes; train with yolo-stability to find out"
        )
        return dataclasses.replace(
            found,
            why=f"from {epochs} in results.csv (a step here is an epoch): {found.why}",
            cause="unknown",
            causes=(Cause(name="unknown", score=1.0, evidence=evidence),),
        )
    damage = _damage(folder / "weights" / "last.pt")
    if damage is not None:
        return dataclasses.replace(damage, run_id=folder.name)
    why = (
        f"the losses of {epochs} show no sign of trouble, but gradients were not recorded; "
        "train with yolo-stability to find out"
    )
    return Diagnosis(run_id=folder.name, verdict="inconclusive", why=why, findings=found.findings)


def _damage(checkpoint: Path) -> Diagnosis | None:
    """Return the damage of a run's last checkpoint; None if there is none or it is unreadable."""
    from yolo_stability.checkpoint.audit import audit_checkpoint

    try:
        found = diagnosis_of_audit(audit_checkpoint(checkpoint)) if checkpoint.is_file() else None
    except StabilityError:  # the losses are still a result
        return None
    if found is None or found.verdict != "failed":
        return None
    return dataclasses.replace(found, why=f"weights/{checkpoint.name}: {found.why}")


def results_series(file: Path) -> RunSeries:
    """Return the summed training losses of `results.csv` as a run with one step per epoch.

    Raises:
        TraceError: The file is not a readable table with losses.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            rows = [{str(k).strip(): v for k, v in row.items()} for row in csv.DictReader(text)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TraceError(f"'{file}' cannot be read: {error}.") from error
    names = [name for name in (rows[0] if rows else {}) if name.startswith("train/")]
    # a kill may truncate the last row
    rows = [row for row in rows if all(_is_number(row.get(name)) for name in names)]
    if not (names and rows):
        raise TraceError(
            f"'{file}' contains no training losses; is it the results.csv of a training?"
        )
    loss = np.array(
        [sum(_number(row.get(name)) for name in names) for row in rows], dtype=np.float64
    )
    rate = [
        [_number(row[name]) for name in row if name.startswith("lr/")] or [math.nan] for row in rows
    ]
    size, nothing = loss.size, np.zeros(0, dtype=np.int64)
    unknown: Floats = np.full(size, np.nan)
    return RunSeries(
        names=(),
        roles=(),
        step=np.arange(size, dtype=np.int64),
        loss=loss,
        norm=unknown,
        micro_norm=unknown,
        nonfinite=np.zeros(size, dtype=np.int64),
        guard=np.zeros(size, dtype=bool),
        scaler=np.zeros(size, dtype=bool),
        clip=unknown,
        block_norm=np.zeros((0, size), dtype=np.float32),
        bad_block=nothing,
        bad_row=nothing,
        bad_count=nothing,
        epoch=np.arange(size, dtype=np.int64),
        attempt=np.zeros(size, dtype=np.int64),
        accumulate=np.ones(size, dtype=np.int64),
        lr=np.array([max(values) for values in rate], dtype=np.float64),
        amp_scale=unknown,
        update=unknown,
        update_block=np.full(size, -1, dtype=np.int64),
        events=tuple[SeriesEvent, ...](),
        stop_step=None,
        completed=None,
    )


def _number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan


def _is_number(text: Any) -> bool:
    """Return whether a cell contains a number, including NaN and Inf."""
    return not math.isnan(_number(text)) or str(text).strip().lower().lstrip("+-") == "nan"
