"""Verdict about a run of a suite, from its diagnosis, the control's traces and its fitness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from yolo_stability.core.findings import Cause, Diagnosis, Finding
from yolo_stability.core.text import brief
from yolo_stability.core.types import CauseName, Learning, RunHeader, Trace, VerdictWord
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.diagnose import diagnose_context
from yolo_stability.diagnosis.run_end import DIED
from yolo_stability.diagnosis.verdict import is_sign, noticed
from yolo_stability.trace.arrays import RunSeries, as_series

__all__ = ["RunVerdict", "classify_run"]

_LEARNED = 0.1
_CONTROL_LEARNED = 0.05  # below this, the control has not learned enough for a comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class RunVerdict:
    """Verdict about a run with its reasons.

    Attributes:
        verdict: stable, unstable, failed or inconclusive.
        why: Reason for the verdict, one sentence with numbers.
        onset_step: Step of the first sign of instability; None if there is none.
        onset_sign: Rule that detected the first sign, or `crash`; None if there is none.
        onset_block: Block with the first sign, if it can be localized.
        cause: Most likely cause of instability; None for a healthy run.
        causes: Possible causes, most likely first.
        findings: Findings of the rules, most severe first, then in chronological order; a healthy
            run may have findings with advice.
        learning: Whether the model learned.
    """

    verdict: VerdictWord
    why: str
    onset_step: int | None = None
    onset_sign: str | None = None
    onset_block: str | None = None
    cause: CauseName | None = None
    causes: tuple[Cause, ...] = ()
    findings: tuple[Finding, ...] = ()
    learning: Learning = "unknown"


def classify_run(
    trace: Trace | RunSeries,
    control: Sequence[Trace | RunSeries],
    *,
    outcome: str | None = None,
    fitness: float | None = None,
    control_fitness: float | None = None,
    header: RunHeader | None = None,
) -> RunVerdict:
    """Return the verdict about a run.

    Args:
        trace: Trace of the run.
        control: Traces of the control on the same task and model, with any seeds. A run of the
            control may be passed as `trace` and in `control`; it is then assessed by its own past.
        outcome: Outcome of the run, as in `RunResultRow.outcome`; by default derived from the
            trace.
        fitness: Final fitness of the run, if known.
        control_fitness: Final fitness of the control, if known.
        header: Header of the run, used to determine the cause; None to use the trace only.

    Returns:
        The verdict of the diagnosis, except for a run that reached less than a tenth of the
        control's fitness: it is `failed` if there are signs of instability and `inconclusive`
        otherwise. A warning is a first sign, too, although it changes no verdict.
    """
    run = as_series(trace)
    controls = [run if other is trace else as_series(other) for other in control]
    context = DiagnosisContext(run, header=header, controls=controls, outcome=outcome)
    diagnosis = diagnose_context(context)
    share = _share(fitness, control_fitness)
    verdict, why = diagnosis.verdict, diagnosis.why
    if share is not None and share < _LEARNED:
        fitnesses = f"final fitness {brief(fitness)}, control {brief(control_fitness)}"
        if noticed(diagnosis):
            verdict, why = "failed", f"{why}; the model did not learn: {fitnesses}"
        elif verdict == "stable":
            why = f"the model did not learn ({fitnesses}), but its trace shows no sign of the cause"
            verdict = "inconclusive"
    found = RunVerdict(
        verdict=verdict, why=why, learning=diagnosis.learning, findings=diagnosis.findings
    )
    first = _first(diagnosis)
    if first is None and verdict not in {"failed", "unstable"} and outcome not in DIED:
        return found
    return replace(
        found,
        onset_step=context.step_at(-1) if first is None else first.first_step,
        onset_sign="crash" if first is None else first.rule,
        onset_block=None if first is None else first.block,
        cause=diagnosis.cause,
        causes=diagnosis.causes,
    )


def _first(diagnosis: Diagnosis) -> Finding | None:
    """Return the earliest finding of instability; the most severe one of the same step."""
    return min(filter(is_sign, diagnosis.findings), key=lambda f: f.first_step or 0, default=None)


def _share(fitness: float | None, control_fitness: float | None) -> float | None:
    """Return the run's fitness as a fraction of the control's; None if that is not meaningful."""
    if fitness is None or control_fitness is None or control_fitness < _CONTROL_LEARNED:
        return None
    return fitness / control_fitness
