"""Diagnosis of a stock Ultralytics run from its `results.csv`: one row per epoch, no gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from yolo_stability.checkpoint.audit import diagnosis_of_audit
from yolo_stability.core.errors import StabilityError
from yolo_stability.core.findings import Cause, Diagnosis
from yolo_stability.core.text import count
from yolo_stability.diagnosis.best_checkpoint import best_of
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.diagnose import diagnose_context
from yolo_stability.diagnosis.hard_evidence import hard_evidence
from yolo_stability.diagnosis.results_table import as_number, epoch_series, read_table
from yolo_stability.diagnosis.skill import TOP1
from yolo_stability.diagnosis.stock_end import stock_classes, stock_end, stock_settings
from yolo_stability.trace.arrays import EpochSeries, Floats, RunSeries, SeriesEvent

__all__ = ["RESULTS", "diagnose_results_csv", "results_series"]

RESULTS = "results.csv"
_FROM_EVIDENCE = frozenset({"no_match", "no_objects", "one_class"})
"""Hard evidence in a table of epochs that points to data or settings."""


def diagnose_results_csv(file: Path) -> Diagnosis:
    """Diagnose a run from its table of epochs, and the settings and checkpoints beside it.

    Args:
        file: The table, usually `results.csv` in a run folder.

    Raises:
        TraceError: The table cannot be read, or holds no training losses.
    """
    context, folder = _context(file), file.parent
    found = diagnose_context(context, file.absolute().parent.name)
    found = replace(found, best=best_of(folder, context.epochs))
    if found.verdict in {"failed", "unstable"}:
        return _with_table_causes(found, context)
    damage = _damage(folder / "weights" / "last.pt")
    if damage is None:
        return found
    return replace(
        found,
        verdict=damage.verdict,
        why=damage.why,
        findings=(*damage.findings, *found.findings),
    )


def _context(file: Path) -> DiagnosisContext:
    """Return what a run folder without a trace holds."""
    folder = file.parent
    rows, settings = read_table(file), stock_settings(folder)
    validates = settings.get("val")
    epochs = epoch_series(rows, validates=validates if isinstance(validates, bool) else None)
    end = stock_end(file, rows, epochs, settings)
    if TOP1 in epochs.values and "nc" not in settings:
        settings = {**settings, "nc": stock_classes(folder)}
    planned = None if end is None else end.epochs_planned
    facts = {**settings, **({} if planned is None else {"epochs": planned})}
    return DiagnosisContext(_series(rows, epochs), stock=True, facts=facts, end=end)


def _with_table_causes(found: Diagnosis, context: DiagnosisContext) -> Diagnosis:
    """Return a diagnosis with only the causes that one row per epoch can show."""
    epochs = count(context.run.step.size, "epoch")
    why = f"from {epochs} in results.csv (a step here is an epoch): {found.why}"
    hard = hard_evidence(context)
    built_in = hard is not None and hard.kind in _FROM_EVIDENCE
    if found.cause == "evaluation" or (built_in and found.cause in {"data", "settings"}):
        return replace(found, why=why)
    text = "one loss per epoch does not distinguish causes; train with yolo-stability to find out"
    unknown = Cause(name="unknown", score=1.0, evidence=text)
    return replace(found, why=why, cause="unknown", causes=(unknown,))


def _damage(checkpoint: Path) -> Diagnosis | None:
    """Return the damage of a run's last checkpoint; None if there is none or it is unreadable."""
    from yolo_stability.checkpoint.audit import audit_checkpoint

    try:
        found = diagnosis_of_audit(audit_checkpoint(checkpoint)) if checkpoint.is_file() else None
    except StabilityError:  # the losses are still a result
        return None
    if found is None or found.verdict != "failed":
        return None
    return replace(found, why=f"weights/{checkpoint.name}: {found.why}")


def results_series(file: Path, *, validates: bool | None = None) -> RunSeries:
    """Return `results.csv` as a run with one step per epoch and the summed training losses.

    Args:
        file: The table.
        validates: The setting `val` of the run; None where it is unknown.

    Raises:
        TraceError: The file is not a readable table with losses.
    """
    rows = read_table(file)
    return _series(rows, epoch_series(rows, validates=validates))


def _series(rows: Sequence[Mapping[str, Any]], epochs: EpochSeries) -> RunSeries:
    """Return a table as a run with one step per epoch."""
    parts = {name: v for name, v in epochs.values.items() if name.startswith("train/")}
    size, nothing = epochs.epoch.size, np.zeros(0, dtype=np.int64)
    unknown: Floats = np.full(size, np.nan)
    return RunSeries(
        names=(),
        roles=(),
        step=np.arange(size, dtype=np.int64),
        loss=np.sum([*parts.values()], axis=0, dtype=np.float64),
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
        epoch=epochs.epoch,
        attempt=np.zeros(size, dtype=np.int64),
        accumulate=np.ones(size, dtype=np.int64),
        lr=_highest_rates(rows),
        amp_scale=unknown,
        update=unknown,
        update_block=np.full(size, -1, dtype=np.int64),
        events=tuple[SeriesEvent, ...](),
        stop_step=None,
        completed=None,
        losses={name.removeprefix("train/"): values for name, values in parts.items()},
        epochs=epochs,
    )


def _highest_rates(rows: Sequence[Mapping[str, Any]]) -> Floats:
    """Return the highest learning rate of each row; NaN where it has none."""
    rates = [
        [as_number(row[name]) for name in row if name.startswith(("lr/", "x/lr"))] or [math.nan]
        for row in rows
    ]
    return np.array([max(values) for values in rates], dtype=np.float64)
