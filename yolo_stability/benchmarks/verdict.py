"""Whether a run of a suite went well: its diagnosis, held against the control's traces and what it learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from yolo_stability.core.findings import Cause, Diagnosis, Finding
from yolo_stability.core.text import brief
from yolo_stability.core.types import CauseName, RunHeader, Trace, VerdictWord
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.diagnose import diagnose_context
from yolo_stability.diagnosis.rules import RULES
from yolo_stability.trace.arrays import RunSeries, as_series

__all__ = ["RunVerdict", "classify_run"]

_LEARNED = 0.1
_CONTROL_LEARNED = 0.05  # below it the control has learned nothing that could be compared with


@dataclass(frozen=True, slots=True, kw_only=True)
class RunVerdict:
    """How a run went.

    Attributes:
        verdict: stable, unstable, failed or inconclusive.
        why: What it rests on, in one sentence with numbers.
        onset_step: Step of the first sign of trouble; None without any.
        onset_sign: Name of the rule that saw it, or `crash`; None without any.
        onset_block: Block in which trouble began, if one stands out.
        cause: What most likely destabilised it; None for a run without trouble.
        causes: What may have, most likely first.
        findings: What the rules saw, most severe first, then in time; advice is among them also for a calm run.
    """

    verdict: VerdictWord
    why: str
    onset_step: int | None = None
    onset_sign: str | None = None
    onset_block: str | None = None
    cause: CauseName | None = None
    causes: tuple[Cause, ...] = ()
    findings: tuple[Finding, ...] = ()


def classify_run(
    trace: Trace | RunSeries,
    control: Sequence[Trace | RunSeries],
    *,
    outcome: str | None = None,
    fitness: float | None = None,
    control_fitness: float | None = None,
    header: RunHeader | None = None,
) -> RunVerdict:
    """Judge a run.

    Args:
        trace: The run.
        control: Runs of the control on the same task and model, whatever their seeds. A run of the control itself may
            be among them: it is then judged by its own past.
        outcome: How its process ended, as `RunResultRow.outcome` has it; by default what the trace says.
        fitness: Its final fitness, if known.
        control_fitness: That of the control, if known.
        header: Its settings, for the cause; None to judge from the trace alone.

    Returns:
        The verdict of the diagnosis, but `failed` for a run with signs of trouble that learned less than a tenth of
        what the control did, and `inconclusive` for one that learned as little without any sign.
    """
    run = as_series(trace)
    controls = [run if other is trace else as_series(other) for other in control]
    context = DiagnosisContext(run, header=header, controls=controls, outcome=outcome)
    diagnosis = diagnose_context(context)
    share = _share(fitness, control_fitness)
    unlearned = share is not None and share < _LEARNED
    fitnesses = f"final fitness {brief(fitness)} against {brief(control_fitness)} of the control"
    if diagnosis.verdict in {"stable", "inconclusive"}:
        if diagnosis.verdict == "stable" and unlearned:
            why = f"it did not learn ({fitnesses}), yet its trace shows no sign of why"
            return RunVerdict(verdict="inconclusive", why=why, findings=diagnosis.findings)
        return RunVerdict(verdict=diagnosis.verdict, why=diagnosis.why, findings=diagnosis.findings)
    first = _first(diagnosis)
    return RunVerdict(
        verdict="failed" if unlearned else diagnosis.verdict,
        why=f"{diagnosis.why}; and it did not learn: {fitnesses}" if unlearned else diagnosis.why,
        onset_step=context.step_at(-1) if first is None else first.first_step,
        onset_sign="crash" if first is None else first.rule,
        onset_block=None if first is None else first.block,
        cause=diagnosis.cause,
        causes=diagnosis.causes,
        findings=diagnosis.findings,
    )


def _first(diagnosis: Diagnosis) -> Finding | None:
    """Return the earliest finding that unsettles the run; of those at the same step the most severe."""
    unsettling = [f for f in diagnosis.findings if f.severity != "info" and RULES[f.rule].unsettles]
    return min(unsettling, key=lambda f: f.first_step or 0, default=None)


def _share(fitness: float | None, control_fitness: float | None) -> float | None:
    """Return what part of the control's fitness a run reached; None where that says nothing."""
    if fitness is None or control_fitness is None or control_fitness < _CONTROL_LEARNED:
        return None
    return fitness / control_fitness
