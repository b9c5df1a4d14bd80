"""`diagnose PATH`: detects what PATH is, such as a run, a log or a checkpoint, and diagnoses it."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo_stability.checkpoint.audit import diagnosis_of_audit
from yolo_stability.core.errors import StabilityError, TraceError
from yolo_stability.core.findings import Diagnosis, Finding
from yolo_stability.core.json_values import finite_json
from yolo_stability.core.suggestions import nearest
from yolo_stability.core.text import count
from yolo_stability.core.types import Trace, VerdictWord
from yolo_stability.diagnosis.best_checkpoint import with_best
from yolo_stability.diagnosis.bundle import BUNDLE_SUFFIX, bundled_diagnosis, unpack_bundle
from yolo_stability.diagnosis.diagnose import diagnose_trace
from yolo_stability.diagnosis.incidents import read_incident_facts
from yolo_stability.diagnosis.located import module_advice
from yolo_stability.diagnosis.results_csv import (
    RESULTS,
    diagnose_console_log,
    diagnose_results_csv,
    diagnose_without_table,
)
from yolo_stability.diagnosis.stock_end import stock_settings
from yolo_stability.diagnosis.store import diagnosis_to_json, write_diagnosis
from yolo_stability.trace import find_trace, load_trace
from yolo_stability.trace.layout import list_parts
from yolo_stability.trace.locate import error_line
from yolo_stability.trace.serialize import strict_json

if TYPE_CHECKING:
    from yolo_stability.checkpoint.audit import AuditResult

__all__ = ["Examination", "diagnose_run", "examine_target", "kind_of"]

INCIDENT = "incident.json"
_CHECKPOINTS = {".pt", ".pth"}
_TABLE = ".csv"
_PLAN = "plan.json"
_LONG = 200
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """Diagnosis of a path.

    Attributes:
        diagnosis: Verdict, cause and findings.
        audit: Audit of a checkpoint; None for anything else.
        reproduced: Whether the saved batch of an incident failed again; None if there was none to
            replay.
    """

    diagnosis: Diagnosis
    audit: AuditResult | None = None
    reproduced: bool | None = None

    def lines(self, width: int = 80) -> list[str]:
        """Return it as lines for a terminal.

        Args:
            width: Maximum width of a line in columns; at most 80 are used for a checkpoint.
        """
        from yolo_stability.checkpoint.audit_text import audit_lines

        return self.diagnosis.lines(width) if self.audit is None else audit_lines(self.audit)

    def to_json(self) -> dict[str, Any]:
        """Return the output of `--json` as strict JSON; NaN and Inf of a checkpoint become null."""
        content = diagnosis_to_json(self.diagnosis)
        if self.reproduced is not None:
            content["reproduced"] = self.reproduced
        if self.audit is not None:
            content["facts"] = strict_json(finite_json(self.audit.facts))
        return content


def examine_target(path: Path, log: Path | None = None) -> Examination:
    """Diagnose a run, a console log, an incident or a checkpoint.

    Args:
        path: What to diagnose.
        log: What a run without a trace printed to the console; None without it.

    Raises:
        StabilityError: There is nothing to diagnose at the path, or it cannot be read.
    """
    kind = kind_of(path)
    if log is not None and kind not in {"run", "table"}:
        raise TraceError(f"log= is for a run folder or its results.csv; '{path}' is neither.")
    if kind == "incident":
        return _replayed(path)
    if kind == "run":
        return Examination(diagnosis=diagnose_run(path, log))
    if kind == "table":
        return Examination(diagnosis=_of_table(path, log))
    if kind == "log":
        return Examination(diagnosis=diagnose_console_log(path))
    if kind == "bundle":
        return Examination(diagnosis=_of_bundle(path))
    from yolo_stability.checkpoint.audit import audit_checkpoint

    audit = audit_checkpoint(path)
    return Examination(diagnosis=diagnosis_of_audit(audit), audit=audit)


def kind_of(path: Path) -> str:
    """Return the kind of a path: `run`, `table`, `log`, `incident`, `bundle` or `checkpoint`.

    A file that is nothing else may be a log: these have any name, such as `slurm-17.out`.

    Raises:
        TraceError: The path does not exist, or is none of these.
    """
    try:
        if path.is_file() and path.suffix.lower() in _CHECKPOINTS:
            return "checkpoint"
        if path.is_file() and path.suffix.lower() == BUNDLE_SUFFIX:
            return "bundle"
        if path.is_file() and path.suffix.lower() == _TABLE:
            return "table"
        if (path / INCIDENT).is_file():
            return "incident"
        if path.is_dir():
            return "run"
        if path.is_file():
            return "log"
        what = "is neither a file nor a folder" if path.exists() else "does not exist"
    except (OSError, ValueError) as error:  # an overlong name, a folder without permission
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        what = f"cannot be read ({reason})"
    name = f"'{_at_most_long(path)}'"
    raise TraceError(
        f"{name} {what}; give a run folder such as runs/detect/train, or a .pt file.{_near(path)}"
    )


def _at_most_long(path: Path) -> str:
    """Return a path shortened for a message."""
    return f"{str(path)[:_LONG]}..." if len(str(path)) > _LONG else str(path)


def _near(path: Path) -> str:
    """Return a hint with the nearest names beside a mistyped path."""
    try:
        return (
            nearest(path.name, sorted(p.name for p in path.parent.iterdir()))
            if not path.exists()
            else ""
        )
    except (OSError, ValueError):
        return ""


def diagnose_run(folder: Path, log: Path | None = None) -> Diagnosis:
    """Diagnose a run folder, and write `diagnosis.json` if it contains a trace.

    Args:
        folder: The run folder or its `stability/` folder.
        log: What a run without a trace printed to the console; None without it.

    Raises:
        TraceError: It is not a run folder, or its trace or the log cannot be read.
    """
    try:
        trace = load_trace(find_trace(folder))
    except TraceError:
        if (folder / RESULTS).is_file():
            return diagnose_results_csv(folder / RESULTS, log)
        if (folder / _PLAN).is_file():
            raise TraceError(
                f"'{folder}' is a benchmark folder: give one of the runs in {folder / 'runs'}, "
                "or open its report.html, which covers all of them."
            ) from None
        if stock_settings(folder):
            return diagnose_without_table(folder, log)
        raise
    if log is not None:
        raise TraceError(
            f"'{folder}' was recorded, and its trace shows how the run ended; leave log= away."
        )
    diagnosis = with_best(_of_trace(trace), trace)
    write_diagnosis(trace, diagnosis)
    return diagnosis


def _of_trace(trace: Trace) -> Diagnosis:
    """Diagnose a trace that may be damaged; missing data never yields the verdict stable."""
    try:
        found = diagnose_trace(trace)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        _LOG.warning(
            "the settings in header.json have an unknown format and are ignored: %s",
            error_line(error),
        )
        found = diagnose_trace(trace, masked=True)
    if not trace.steps.height and list_parts(trace.path, "steps"):
        return dataclasses.replace(
            found, why="no step of the trace can be read: its files are damaged"
        )
    if found.verdict == "stable" and trace.header.blocks and not trace.blocks["grad_norm"].count():
        steps = count(trace.steps.height, "step")
        why = f"the total gradient norm of {steps} shows no sign of trouble, but the norms of the "
        why += "blocks are missing: their files are damaged or deleted"
        return dataclasses.replace(found, verdict="inconclusive", why=why)
    return found


def _of_table(path: Path, log: Path | None) -> Diagnosis:
    """Diagnose a run given by its `results.csv`: from its trace, if there is one beside it."""
    if path.name == RESULTS:
        return diagnose_run(path.parent, log)
    return diagnose_results_csv(path, log)


def _of_bundle(path: Path) -> Diagnosis:
    """Diagnose a bundle: by the rules of today where it holds the whole run."""
    with tempfile.TemporaryDirectory(prefix="yolo-stability-bundle-") as temporary:
        folder = Path(temporary)
        found = unpack_bundle(path, folder)
        if found is not None:
            return found
        return dataclasses.replace(diagnose_run(folder), best=bundled_diagnosis(path).best)


def _as_recorded(folder: Path, error: StabilityError) -> Examination:
    """Return what an incident recorded, where its model has layers of the user.

    Raises:
        StabilityError: `incident.json` cannot be read, either.
    """
    facts = read_incident_facts(folder)
    if facts is None:
        raise error
    why = f"It is not replayed, since its model has layers of your own. Recorded: {facts.text}."
    code = module_advice(facts.block, facts.phase, half=facts.only_in_half)
    finding = Finding(
        rule="non_finite",
        severity="critical",
        message=f"the step was not finite: {facts.text}",
        block=facts.block,
        first_step=facts.step,
        last_step=facts.step,
        remedy=code if facts.blames_module else "",
        images=facts.images,
    )
    diagnosis = Diagnosis(run_id="", verdict="inconclusive", why=why, findings=(finding,))
    return Examination(diagnosis=diagnosis)


def _replayed(folder: Path) -> Examination:
    """Replay the saved batch of an incident in this process."""
    from yolo_stability.guard.incidents.layer_allowlist import UnknownLayerError
    from yolo_stability.guard.incidents.replay import replay_incident

    try:
        result = replay_incident(folder)
    except UnknownLayerError as error:
        return _as_recorded(folder, error)
    kept = (folder / "weights.pt").is_file() and any(folder.glob("batch-*.pt"))
    word: VerdictWord = "failed" if result.reproduced else "inconclusive"
    remedy = f"exclude {result.image} from the dataset, or repair it" if result.image else ""
    finding = Finding(
        rule="non_finite",
        severity="critical" if result.reproduced else "info",
        message=result.message,
        block=result.culprit_module,
        remedy=remedy if result.reproduced else "",
    )
    diagnosis = Diagnosis(run_id="", verdict=word, why=result.message, findings=(finding,))
    return Examination(diagnosis=diagnosis, reproduced=result.reproduced if kept else None)
