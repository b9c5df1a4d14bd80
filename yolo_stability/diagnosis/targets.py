"""`diagnose PATH`: finds out what lies there - a run, an incident, a checkpoint - and asks whoever knows about it."""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from yolo_stability.core.errors import StabilityError, TraceError, nearest
from yolo_stability.core.types import Cause, Diagnosis, Finding, Trace, VerdictWord
from yolo_stability.diagnosis.diagnose import diagnose_series, diagnose_trace
from yolo_stability.diagnosis.rolling import times
from yolo_stability.trace import find_trace, load_trace
from yolo_stability.trace.arrays import Floats, RunSeries, SeriesEvent
from yolo_stability.trace.layout import list_parts, replace_file
from yolo_stability.trace.locate import said
from yolo_stability.trace.serialize import plain

if TYPE_CHECKING:
    from yolo_stability.checkpoint.audit import AuditResult

__all__ = [
    "FILE",
    "INCIDENT",
    "Examined",
    "diagnose_run",
    "diagnosis_to_json",
    "examine",
    "kind_of",
    "write_diagnosis",
]

FILE = "diagnosis.json"
INCIDENT = "incident.json"
SCHEMA_VERSION = 1
_CHECKPOINTS = {".pt", ".pth"}
_PLAIN, _PLAN = "results.csv", "plan.json"
_LONG = 200
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What lies at a path, and what was found there.

    Attributes:
        diagnosis: Verdict, cause and findings.
        audit: Of a checkpoint; None for all else.
        reproduced: Whether the kept batch of an incident went wrong again; None where there was none to replay.
    """

    diagnosis: Diagnosis
    audit: AuditResult | None = None
    reproduced: bool | None = None

    def lines(self, width: int = 80) -> list[str]:
        """Return it as lines for a terminal.

        Args:
            width: Columns that a line may take; those about a checkpoint take at most 80.
        """
        from yolo_stability.checkpoint.audit_text import audit_lines

        return self.diagnosis.lines(width) if self.audit is None else audit_lines(self.audit)

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints; strict JSON, with null for numbers of a checkpoint that are NaN or Inf."""
        content = diagnosis_to_json(self.diagnosis)
        if self.reproduced is not None:
            content["reproduced"] = self.reproduced
        if self.audit is not None:
            content["facts"] = plain(_finite(self.audit.facts))
        return content


def examine(path: Path) -> Examined:
    """Diagnose whatever lies at a path.

    Raises:
        StabilityError: Nothing that could be diagnosed, or it cannot be read.
    """
    kind = kind_of(path)
    if kind == "incident":
        return _replayed(path)
    if kind == "run":
        return Examined(diagnosis=diagnose_run(path))
    from yolo_stability.checkpoint.audit import audit_checkpoint

    audit = audit_checkpoint(path)
    return Examined(diagnosis=_of_checkpoint(audit), audit=audit)


def kind_of(path: Path) -> str:
    """Return what lies at a path: `run`, `incident` or `checkpoint`.

    Raises:
        TraceError: Nothing is there, or none of these.
    """
    try:
        if path.is_file() and path.suffix.lower() in _CHECKPOINTS:
            return "checkpoint"
        if (path / INCIDENT).is_file():
            return "incident"
        if path.is_dir():
            return "run"
        what = (
            "is no run folder, incident folder or checkpoint" if path.exists() else "is not there"
        )
    except (OSError, ValueError) as error:  # an overlong name, a folder without permission
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        what = f"cannot be looked into ({reason})"
    name = f"'{_short(path)}'"
    raise TraceError(
        f"{name} {what}; name a run folder such as runs/detect/train, or a .pt file.{_near(path)}"
    )


def _short(path: Path) -> str:
    """Return a path as a sentence can hold it."""
    return f"{str(path)[:_LONG]}..." if len(str(path)) > _LONG else str(path)


def _near(path: Path) -> str:
    """Name what lies beside a path that was mistyped."""
    try:
        return (
            nearest(path.name, sorted(p.name for p in path.parent.iterdir()))
            if not path.exists()
            else ""
        )
    except (OSError, ValueError):
        return ""


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
        if (folder / _PLAIN).is_file():
            return _diagnose_plain(folder)
        if (folder / _PLAN).is_file():
            raise TraceError(
                f"'{folder}' is the folder of a benchmark: name one of the runs in {folder / 'runs'}, "
                "or open its report.html, which tells of all."
            ) from None
        raise
    diagnosis = _of_trace(trace)
    write_diagnosis(trace, diagnosis)
    return diagnosis


def _of_trace(trace: Trace) -> Diagnosis:
    """Diagnose a trace as it lies on disk, damaged perhaps, and never call stable what could not be looked at."""
    try:
        found = diagnose_trace(trace)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        _LOG.warning(
            "the settings in header.json are not as this version writes them, and left out: %s",
            said(error),
        )
        found = diagnose_trace(trace, masked=True)
    if not trace.steps.height and list_parts(trace.path, "steps"):
        return dataclasses.replace(
            found, why="no step of its trace can be read: its files are damaged"
        )
    if found.verdict == "stable" and trace.header.blocks and not trace.blocks["grad_norm"].count():
        why = f"the total gradient norm of its {times(trace.steps.height, 'step')} shows no sign of trouble, but the "
        why += "norms of its blocks are not there: their files are damaged or gone"
        return dataclasses.replace(found, verdict="inconclusive", why=why)
    return found


def _of_checkpoint(audit: AuditResult) -> Diagnosis:
    """Return the diagnosis that an audit comes to."""
    why = {
        "stable": "every tensor is finite and none stands out",
        "inconclusive": "it holds no weights that could be judged, or some of a kind that is not read",
    }
    first = audit.findings[0].message if audit.findings else why.get(audit.verdict, "")
    return Diagnosis(
        run_id="", verdict=audit.verdict, why=why.get(audit.verdict, first), findings=audit.findings
    )


def _replayed(folder: Path) -> Examined:
    """Run the kept batch of an incident again, in this process."""
    from yolo_stability.guard.incidents.replay import replay_incident

    result = replay_incident(folder)
    kept = (folder / "weights.pt").is_file() and any(folder.glob("batch-*.pt"))
    word: VerdictWord = "failed" if result.reproduced else "inconclusive"
    remedy = f"take {result.image} out of the dataset, or repair it" if result.image else ""
    finding = Finding(
        rule="non_finite",
        severity="critical" if result.reproduced else "info",
        message=result.message,
        block=result.culprit_module,
        remedy=remedy if result.reproduced else "",
    )
    diagnosis = Diagnosis(run_id="", verdict=word, why=result.message, findings=(finding,))
    return Examined(diagnosis=diagnosis, reproduced=result.reproduced if kept else None)


def write_diagnosis(trace: Trace, diagnosis: Diagnosis) -> None:
    """Write `diagnosis.json` beside a trace; a folder that cannot be written is left as it is."""
    try:
        replace_file(
            trace.path / FILE, (json.dumps(diagnosis_to_json(diagnosis), indent=1) + "\n").encode()
        )
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
    epochs = times(series.step.size, "epoch")
    if found.verdict in {"failed", "unstable"}:
        evidence = "one loss an epoch does not tell causes apart: train with yolo-stability to know"
        return dataclasses.replace(
            found,
            why=f"by its {epochs} in results.csv (a step here is an epoch): {found.why}",
            cause="unknown",
            causes=(Cause(name="unknown", score=1.0, evidence=evidence),),
        )
    damage = _damage(folder / "weights" / "last.pt")
    if damage is not None:
        return dataclasses.replace(damage, run_id=folder.name)
    why = (
        f"the losses of its {epochs} show no sign of trouble, but its gradients were not recorded: "
        "train with yolo-stability to know"
    )
    return Diagnosis(run_id=folder.name, verdict="inconclusive", why=why, findings=found.findings)


def _damage(checkpoint: Path) -> Diagnosis | None:
    """Return what is wrong with the last checkpoint of a run; None where nothing is, or it cannot be read."""
    from yolo_stability.checkpoint.audit import audit_checkpoint

    try:
        found = _of_checkpoint(audit_checkpoint(checkpoint)) if checkpoint.is_file() else None
    except StabilityError:  # the losses are what was asked for
        return None
    if found is None or found.verdict != "failed":
        return None
    return dataclasses.replace(found, why=f"weights/{checkpoint.name}: {found.why}")


def _plain_series(file: Path) -> RunSeries:
    """Return the training losses of `results.csv`, summed, as a run with one step an epoch.

    Raises:
        TraceError: It is not readable as a table with losses.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            rows = [{str(k).strip(): v for k, v in row.items()} for row in csv.DictReader(text)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TraceError(f"'{file}' cannot be read: {error}.") from error
    names = [name for name in (rows[0] if rows else {}) if name.startswith("train/")]
    rows = [
        row for row in rows if all(_is_number(row.get(name)) for name in names)
    ]  # a kill may cut the last one
    if not (names and rows):
        raise TraceError(f"'{file}' holds no training losses; is it the results.csv of a training?")
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
    """Whether a cell holds a number, NaN and Inf among them."""
    return not math.isnan(_number(text)) or str(text).strip().lower().lstrip("+-") == "nan"


def _finite(value: Any) -> Any:
    """Return a value with None for each number that is NaN or Inf."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
