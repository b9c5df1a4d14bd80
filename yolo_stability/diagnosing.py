"""`diagnose PATH`: finds out what lies there - a run, an incident, a checkpoint - and asks whoever knows about it."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from yolo_stability.diagnosis import diagnose_series, diagnose_trace
from yolo_stability.errors import TraceError
from yolo_stability.series import Floats, RunSeries, SeriesEvent
from yolo_stability.trace import find_trace, load_trace
from yolo_stability.trace.layout import replace_file
from yolo_stability.trace.plain import plain
from yolo_stability.types import Diagnosis, Trace

__all__ = ["FILE", "INCIDENT", "diagnose_checkpoint", "diagnose_run", "diagnosis_to_json", "kind_of", "write_diagnosis"]

FILE = "diagnosis.json"
INCIDENT = "incident.json"
SCHEMA_VERSION = 1
_CHECKPOINTS = {".pt", ".pth"}
_PLAIN = "results.csv"


def kind_of(path: Path) -> str:
    """Return what lies at a path: `run`, `incident` or `checkpoint`.

    Raises:
        TraceError: Nothing is there, or none of these.
    """
    if path.is_file() and path.suffix in _CHECKPOINTS:
        return "checkpoint"
    if (path / INCIDENT).is_file():
        return "incident"
    if path.is_dir():
        return "run"
    what = "is no run folder, incident folder or checkpoint" if path.exists() else "is not there"
    raise TraceError(f"'{path}' {what}; name a run folder such as runs/detect/train, or a .pt file.")


def diagnose_run(folder: Path) -> Diagnosis:
    """Diagnose a run folder, ours or a plain one of Ultralytics, and leave `diagnosis.json` in ours.

    Args:
        folder: The run folder or its `stability/` folder.

    Raises:
        TraceError: It is no run, or its trace cannot be read.
    """
    try:
        trace = load_trace(find_trace(folder))
    except TraceError:
        if not (folder / _PLAIN).is_file():
            raise
        return _diagnose_plain(folder)
    diagnosis = diagnose_trace(trace)
    write_diagnosis(trace, diagnosis)
    return diagnosis


def diagnose_checkpoint(path: Path) -> Diagnosis:
    """Audit a checkpoint without running anything from it.

    Raises:
        StabilityError: It cannot be read.
    """
    from yolo_stability.audit import audit_checkpoint

    result = audit_checkpoint(path)
    findings = tuple(result.findings)
    critical = [f for f in findings if f.severity == "critical"]
    if critical:
        return Diagnosis(run_id="", verdict="failed", why=critical[0].message, findings=findings)
    if findings:
        return Diagnosis(run_id="", verdict="unstable", why=findings[0].message, findings=findings)
    return Diagnosis(run_id="", verdict="stable", why="every tensor is finite and none stands out")


def write_diagnosis(trace: Trace, diagnosis: Diagnosis) -> None:
    """Write `diagnosis.json` beside a trace; a folder that cannot be written is left as it is."""
    try:
        replace_file(trace.path / FILE, (json.dumps(diagnosis_to_json(diagnosis), indent=1) + "\n").encode())
    except OSError:
        return


def diagnosis_to_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return what `diagnosis.json` holds; strict JSON."""
    content: dict[str, Any] = plain(dataclasses.asdict(diagnosis))
    return {"schema_version": SCHEMA_VERSION, **content}


# --- plain folders of Ultralytics -------------------------------------------------------------------------------------


def _diagnose_plain(folder: Path) -> Diagnosis:
    """Diagnose what `results.csv` can tell: one row an epoch, losses and metrics, no gradients."""
    series = _plain_series(folder / _PLAIN)
    found = diagnose_series(series, run_id=folder.name)
    epochs = series.step.size
    if found.verdict in {"failed", "unstable"}:
        return dataclasses.replace(
            found, why=f"by its {epochs} epochs in results.csv (a step here is an epoch): {found.why}"
        )
    last = folder / "weights" / "last.pt"
    if last.is_file():
        audit = diagnose_checkpoint(last)
        if audit.verdict == "failed":
            return dataclasses.replace(audit, why=f"weights/last.pt: {audit.why}")
    why = (
        f"the losses of its {epochs} epochs show no sign of trouble, but its gradients were not recorded: "
        "train with yolo-stability to know"
    )
    return Diagnosis(run_id=folder.name, verdict="inconclusive", why=why, findings=found.findings)


def _plain_series(file: Path) -> RunSeries:
    """Return the training losses of `results.csv`, summed, as a run with one step an epoch.

    Raises:
        TraceError: It is not readable as a table with losses.
    """
    try:
        with file.open(encoding="utf-8", newline="") as text:
            rows = [{str(k).strip(): v for k, v in row.items()} for row in csv.DictReader(text)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TraceError(f"'{file}' cannot be read: {error}.") from error
    names = [name for name in (rows[0] if rows else {}) if name.startswith("train/")]
    if not names:
        raise TraceError(f"'{file}' holds no training losses; is it the results.csv of a training?")
    loss = np.array([sum(_number(row.get(name)) for name in names) for row in rows], dtype=np.float64)
    rate = [[_number(row[name]) for name in row if name.startswith("lr/")] or [math.nan] for row in rows]
    size, nothing = loss.size, np.zeros(0, dtype=np.int64)
    unknown: Floats = np.full(size, np.nan)
    return RunSeries(
        names=(),
        roles=(),
        step=np.arange(size, dtype=np.int64),
        loss=loss,
        norm=unknown,
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
