"""Diagnosis of a run: verdict, cause and findings from its trace and the rules."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from yolo_stability.core.findings import Diagnosis, Finding
from yolo_stability.core.plugins import is_plugin
from yolo_stability.core.text import brief, count
from yolo_stability.core.types import RunHeader, Trace, VerdictWord
from yolo_stability.diagnosis.advice import advised
from yolo_stability.diagnosis.base import Rule
from yolo_stability.diagnosis.causes import rank_causes
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.incidents import IncidentFacts, read_incidents
from yolo_stability.diagnosis.located import located
from yolo_stability.diagnosis.rolling import ratio_of
from yolo_stability.diagnosis.rules import RULES
from yolo_stability.trace.arrays import RunSeries, as_series

__all__ = ["DIED", "diagnose_context", "diagnose_series", "diagnose_trace", "find_all"]

DIED = {
    "crashed": "the process died",
    "killed": "the process was killed",
    "timeout": "the process exceeded its time limit",
    "memory": "the process ran out of memory",
}
_FEW_STEPS = 16  # healthy and vanishing runs differ clearly only at steps 16 to 32
_END = 8  # a critical finding that extends into the last steps was not recovered from
_WEIGHT = {"critical": 0, "warning": 1, "info": 2}


def diagnose_trace(
    trace: Trace,
    *,
    masked: bool = False,
    controls: Sequence[RunSeries] = (),
    outcome: str | None = None,
) -> Diagnosis:
    """Diagnose a run.

    Args:
        trace: The run.
        masked: Whether to diagnose from the trace alone, without the settings.
        controls: Runs of the control on the same task and model, if any.
        outcome: How its process ended, as in `RunResultRow.outcome`; None to use the trace.
    """
    if (
        trace.steps.height
        and trace.steps["loss"].null_count() == trace.steps.height
        and outcome not in DIED
    ):
        why = "the trace has no loss at any step, so no verdict is possible"
        return Diagnosis(run_id=trace.header.run_id, verdict="inconclusive", why=why)
    header, run = None if masked else trace.header, as_series(trace)
    return diagnose_series(
        run,
        incidents=read_incidents(trace.path, run.events),
        header=header,
        controls=controls,
        outcome=outcome,
        run_id=trace.header.run_id,
    )


def diagnose_series(
    run: RunSeries,
    *,
    incidents: Sequence[IncidentFacts] | None = None,
    header: RunHeader | None = None,
    controls: Sequence[RunSeries] = (),
    outcome: str | None = None,
    run_id: str = "",
) -> Diagnosis:
    """Diagnose a run given as arrays; see `diagnose_trace`."""
    return diagnose_context(
        DiagnosisContext(
            run, header=header, controls=controls, outcome=outcome, incidents=incidents
        ),
        run_id,
    )


def diagnose_context(context: DiagnosisContext, run_id: str = "") -> Diagnosis:
    """Diagnose a run with its context."""
    findings = find_all(context)
    unsettling = tuple(f for f in findings if f.severity != "info" and RULES[f.rule].unsettles)
    critical = [f for f in unsettling if f.severity == "critical"]
    verdict, why = _verdict(context, unsettling)
    causes = rank_causes(context, [f for f in unsettling if f.first_step is not None])
    first = min((f.first_step for f in critical if f.first_step is not None), default=None)
    return Diagnosis(
        run_id=run_id,
        verdict=verdict,
        why=why,
        cause=causes[0].name if causes else None,
        causes=causes,
        findings=advised(findings, causes, context.header),
        time_to_divergence=None if first is None else first - context.step_at(0),
    )


def find_all(context: DiagnosisContext, rules: Sequence[Rule] | None = None) -> tuple[Finding, ...]:
    """Return the findings of all rules, most severe first, then by step.

    Args:
        context: The run; without steps there are no findings.
        rules: Rules to apply; default: every rule with its default thresholds.

    Example:
        >>> from yolo_stability.diagnosis.examples import healthy_run, with_rows
        >>> find_all(DiagnosisContext(healthy_run()))
        ()
        >>> broken = with_rows(healthy_run(), slice(70, 96), loss=1000.0)
        >>> find_all(DiagnosisContext(broken))[0].rule
        'divergence'
    """
    if not context.run.step.size:
        return ()
    asked = RULES.make_all() if rules is None else rules
    found = [located(context, finding) for rule in asked for finding in _look(rule, context)]
    return tuple(sorted(found, key=lambda f: (_WEIGHT[f.severity], f.first_step or 0, f.rule)))


def _look(rule: Rule, context: DiagnosisContext) -> list[Finding]:
    """Return the findings of one rule; a failing rule of another package only loses its own."""
    try:
        return list(rule.look(context))
    except Exception as error:
        if not is_plugin(type(rule)):
            raise
        warnings.warn(
            f"rule '{rule.name()}' of another package failed and is ignored: "
            f"{type(error).__name__}: {error}",
            stacklevel=2,
        )
        return []


def _verdict(context: DiagnosisContext, findings: Sequence[Finding]) -> tuple[VerdictWord, str]:
    """Return the verdict and its reason; findings are sorted by severity."""
    run = context.run
    died = context.outcome
    if died is None and run.completed is False and run.stop_step is None:
        died = "crashed"
    if died in DIED:
        last = f"after step {run.step[-1]}" if run.step.size else "before its first step"
        return "failed", _with_first(f"{DIED[died]} {last}", findings)
    if not run.step.size:
        return "inconclusive", "no step was recorded"
    critical = [f for f in findings if f.severity == "critical"]
    if critical:
        lasting = [
            f for f in critical if f.last_step is None or f.last_step > context.step_at(-1) - _END
        ]
        main = (lasting or critical)[0]
        return ("failed" if lasting else "unstable"), _with_first(main.message, findings, main)
    if findings:
        return "unstable", findings[0].message
    return _without_findings(context)


def _without_findings(context: DiagnosisContext) -> tuple[VerdictWord, str]:
    """Return the verdict on a run without findings: stable only with enough data."""
    steps = count(context.run.step.size, "step")
    if context.run.step.size < _FEW_STEPS:
        return (
            "inconclusive",
            f"{steps} without a sign of trouble are too few for a verdict; at least {_FEW_STEPS} "
            "are needed",
        )
    if not np.isfinite(context.run.norm).any():
        return (
            "inconclusive",
            f"the losses of {steps} show no sign of trouble, but no gradient was recorded",
        )
    return "stable", _calm(context)


def _with_first(text: str, findings: Sequence[Finding], main: Finding | None = None) -> str:
    """Append the first sign in time, if it is a different finding."""
    timed = [f for f in findings if f.first_step is not None and f is not main]
    first = min(timed, key=lambda f: f.first_step or 0, default=None)
    if first is None or (main is not None and (first.first_step or 0) >= (main.first_step or 0)):
        return text
    return f"{text}; first sign: {first.message}"


def _calm(context: DiagnosisContext) -> str:
    """Describe a run without any sign of trouble."""
    own = ratio_of(context.norm, context.usual_norm)
    text = f"no sign of trouble in {count(context.run.step.size, 'step')}"
    if np.isfinite(own).any():
        text += (
            f": the gradient norm reached {brief(float(np.nanmax(own)))} times its running median"
        )
    return text
