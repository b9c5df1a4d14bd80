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
from yolo_stability.core.findings import Diagnosis, End
from yolo_stability.core.text import count
from yolo_stability.diagnosis.best_checkpoint import best_of
from yolo_stability.diagnosis.console_log import read_console_log
from yolo_stability.diagnosis.console_run import ConsoleRun
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.diagnose import diagnose_context
from yolo_stability.diagnosis.hard_evidence import hard_evidence
from yolo_stability.diagnosis.results_table import as_number, epoch_series, read_table
from yolo_stability.diagnosis.skill import TOP1
from yolo_stability.diagnosis.stock_advice import log_advice, trace_advice
from yolo_stability.diagnosis.stock_end import stock_classes, stock_end, stock_settings
from yolo_stability.diagnosis.stock_log import (
    UNKNOWN,
    end_with_log,
    no_epoch,
    refuse_other_run,
    run_of_folder,
    table_of_log,
    unseen_best,
    with_log,
)
from yolo_stability.trace.arrays import EpochSeries, Floats, RunSeries, SeriesEvent

__all__ = [
    "RESULTS",
    "diagnose_console_log",
    "diagnose_results_csv",
    "diagnose_without_table",
    "results_series",
]

RESULTS = "results.csv"
_FROM_EVIDENCE = frozenset({"no_match", "no_objects", "one_class"})
"""Hard evidence in a table of epochs that points to data or settings."""


def diagnose_results_csv(file: Path, log: Path | None = None) -> Diagnosis:
    """Diagnose a run from its table of epochs, and the settings and checkpoints beside it.

    Args:
        file: The table, usually `results.csv` in a run folder.
        log: What the run printed to the console; None without it.

    Raises:
        TraceError: The table cannot be read, or holds no training losses, or the log cannot be
            read or is that of another run.
    """
    rows, folder = read_table(file), file.parent
    if log is None:
        return _of_table(file, rows, None)
    run = run_of_folder(read_console_log(log), folder)
    refuse_other_run(log, run, file, rows)
    return _of_table(file, rows, run)


def _of_table(file: Path, rows: list[dict[str, str]], run: ConsoleRun | None) -> Diagnosis:
    """Diagnose a run from its table, and from its log if there is one."""
    folder = file.parent
    settings = {**({} if run is None else run.settings), **stock_settings(folder)}
    epochs = _epochs(rows, settings)
    end = stock_end(file, rows, epochs, settings)
    if run is not None:
        end = end_with_log(run, end, int(epochs.epoch[-1]) + 1)
    if TOP1 in epochs.values and "nc" not in settings:
        settings = {**settings, "nc": stock_classes(folder)}
    context = _context(rows, epochs, settings, end)
    found = diagnose_context(context, file.absolute().parent.name)
    found = replace(found, best=best_of(folder, context.epochs))
    if found.verdict in {"failed", "unstable"}:
        found = _with_table_causes(found, context, "results.csv")
    else:
        found = _with_damage(found, folder / "weights" / "last.pt")
    if run is not None:
        found = with_log(found, run)
    advice = trace_advice(found, settings, folder)
    advice += log_advice(found, folder) if run is None else ()
    return replace(found, findings=(*found.findings, *advice))


def diagnose_console_log(file: Path) -> Diagnosis:
    """Diagnose the last run in a console log; with its folder, if that is found and agrees.

    Args:
        file: The log.

    Raises:
        TraceError: The log cannot be read, or holds no training.
    """
    run = read_console_log(file)[-1]
    table = table_of_log(file, run)
    if table is not None:
        return _of_table(*table, run)
    return _of_log(run, {})


def diagnose_without_table(folder: Path, log: Path | None) -> Diagnosis:
    """Diagnose a stock run that ended before the first row of `results.csv`.

    Args:
        folder: The run folder, with the settings of the run.
        log: What the run printed to the console; None without it.

    Raises:
        TraceError: The log cannot be read, or holds no training.
    """
    settings = stock_settings(folder)
    if log is not None:
        return _of_log(run_of_folder(read_console_log(log), folder), settings)
    planned = settings.get("epochs")
    known = isinstance(planned, int) and not isinstance(planned, bool) and planned > 0
    end = End(state="interrupted", epochs_done=0, epochs_planned=planned if known else None)
    found = no_epoch(folder.absolute().name, end)
    return replace(found, findings=log_advice(found, folder))


def _of_log(run: ConsoleRun, settings: Mapping[str, Any]) -> Diagnosis:
    """Diagnose a run from its log alone, and settings that are known besides."""
    settings = {**run.settings, **settings}
    rows = [{"epoch": str(epoch), **row} for epoch, row in sorted(run.rows.items())]
    name = Path(run.save_dir or "").name
    end = end_with_log(run, None, run.done)
    if rows:
        context = _context(rows, _epochs(rows, settings), settings, end)
        found = diagnose_context(context, name)
        found = replace(found, best=unseen_best(context.epochs))
        if found.verdict in {"failed", "unstable"}:
            found = _with_table_causes(found, context, "the log")
    else:
        found = no_epoch(name, end)
    found = with_log(found, run)
    advice = trace_advice(found, settings, Path(name))
    return replace(found, findings=(*found.findings, *advice))


def _epochs(rows: Sequence[Mapping[str, str]], settings: Mapping[str, Any]) -> EpochSeries:
    validates = settings.get("val")
    return epoch_series(rows, validates=validates if isinstance(validates, bool) else None)


def _context(
    rows: Sequence[Mapping[str, str]],
    epochs: EpochSeries,
    settings: Mapping[str, Any],
    end: End | None,
) -> DiagnosisContext:
    """Return what is known about a run without a trace."""
    planned = None if end is None else end.epochs_planned
    facts = {**settings, **({} if planned is None else {"epochs": planned})}
    return DiagnosisContext(_series(rows, epochs), stock=True, facts=facts, end=end)


def _with_table_causes(found: Diagnosis, context: DiagnosisContext, source: str) -> Diagnosis:
    """Return a diagnosis with only the causes that one row per epoch can show."""
    epochs = count(context.run.step.size, "epoch")
    why = f"from {epochs} in {source} (a step here is an epoch): {found.why}"
    hard = hard_evidence(context)
    built_in = hard is not None and hard.kind in _FROM_EVIDENCE
    if found.cause == "evaluation" or (built_in and found.cause in {"data", "settings"}):
        return replace(found, why=why)
    return replace(found, why=why, cause="unknown", causes=(UNKNOWN,))


def _with_damage(found: Diagnosis, checkpoint: Path) -> Diagnosis:
    """Return a diagnosis with the damage of the last checkpoint, if there is any."""
    from yolo_stability.checkpoint.audit import audit_checkpoint

    try:
        damage = diagnosis_of_audit(audit_checkpoint(checkpoint)) if checkpoint.is_file() else None
    except StabilityError:  # the losses are still a result
        return found
    if damage is None or damage.verdict != "failed":
        return found
    return replace(
        found,
        verdict=damage.verdict,
        why=f"weights/{checkpoint.name}: {damage.why}",
        findings=(*damage.findings, *found.findings),
    )


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
