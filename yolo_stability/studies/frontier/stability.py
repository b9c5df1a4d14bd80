"""Classifies a run of a frontier by its diagnosis and by how its process ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from yolo_stability.benchmarks.fitness import final_fitness
from yolo_stability.benchmarks.plan import RunOutcome, RunSpec
from yolo_stability.core.errors import TraceError
from yolo_stability.core.findings import Diagnosis, Finding
from yolo_stability.core.types import Trace
from yolo_stability.diagnosis.diagnose import diagnose_trace
from yolo_stability.diagnosis.run_end import DIED
from yolo_stability.diagnosis.verdict import FEW_STEPS, is_sign
from yolo_stability.studies.frontier.bisection import Word
from yolo_stability.trace import load_trace

__all__ = ["RunAssessment", "assess_run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAssessment:
    """The verdict on one run.

    Attributes:
        verdict: `stable`: it completed without a critical finding, even with warnings or a low
            fitness. `unstable`: a critical finding, or a rule or the guard stopped it. `crashed`:
            its process died, hit a limit or was killed, and the trace does not explain why.
            `inconclusive`: too few data.
        why: Reason for the verdict, one sentence.
        diagnosis: Verdict of the diagnosis, which also knows whether the model learned.
        onset_step: Step of the first critical finding; None without one.
        onset_sign: Rule of that finding.
        onset_block: Block of that finding, if one stands out.
        steps: Recorded optimizer steps.
        fitness: Final mAP50 of the task; None if unknown.
    """

    verdict: Word
    why: str
    diagnosis: str = "inconclusive"
    onset_step: int | None = None
    onset_sign: str | None = None
    onset_block: str | None = None
    steps: int = 0
    fitness: float | None = None


def assess_run(spec: RunSpec, outcome: RunOutcome, out: Path) -> RunAssessment:
    """Classify a run that has ended.

    Args:
        spec: Specification of the run.
        outcome: How its process ended.
        out: Folder of the frontier.
    """
    try:
        trace: Trace | None = load_trace(out / spec.folder)
    except TraceError:
        trace = None
    died = outcome.outcome in DIED
    if trace is None or not trace.steps.height:
        why = outcome.error or (DIED[outcome.outcome] if died else "no step was recorded")
        return RunAssessment(verdict="crashed" if died else "inconclusive", why=why)
    diagnosis = diagnose_trace(trace, outcome=outcome.outcome)
    first = _first_critical(diagnosis)
    return RunAssessment(
        verdict=_word(outcome, diagnosis, first, trace.steps.height),
        why=first.message if first else outcome.stopped or outcome.error or diagnosis.why,
        diagnosis=diagnosis.verdict,
        onset_step=first.first_step if first else None,
        onset_sign=first.rule if first else None,
        onset_block=first.block if first else None,
        steps=trace.steps.height,
        fitness=final_fitness(spec.task, outcome.outcome, outcome.metrics),
    )


def _word(outcome: RunOutcome, diagnosis: Diagnosis, critical: Finding | None, steps: int) -> Word:
    if critical is not None:
        return "unstable"
    if outcome.outcome in DIED:
        return "crashed"
    if outcome.outcome == "stopped":
        return "unstable"
    short = steps < FEW_STEPS or diagnosis.learning != "too_early"  # learning is not its criterion
    return "inconclusive" if diagnosis.verdict == "inconclusive" and short else "stable"


def _first_critical(diagnosis: Diagnosis) -> Finding | None:
    """Return the earliest critical finding that makes a run unstable."""
    found = [f for f in diagnosis.findings if f.severity == "critical" and is_sign(f)]
    return min(found, key=lambda f: f.first_step or 0, default=None)
