"""Diagnosis of a run: verdict, cause and findings from its trace and the rules."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

from yolo_stability.core.findings import Diagnosis, Finding
from yolo_stability.core.lock import is_locked
from yolo_stability.core.plugins import is_plugin
from yolo_stability.core.types import RunHeader, Trace
from yolo_stability.diagnosis.advice import advised
from yolo_stability.diagnosis.base import Rule
from yolo_stability.diagnosis.causes import rank_causes
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.epoch_findings import in_epochs
from yolo_stability.diagnosis.incidents import IncidentFacts, read_incidents
from yolo_stability.diagnosis.located import located
from yolo_stability.diagnosis.outcome import learning_of, resolver_of
from yolo_stability.diagnosis.rules import RULES
from yolo_stability.diagnosis.run_end import end_of, rescued_of
from yolo_stability.diagnosis.verdict import is_sign, verdict_on
from yolo_stability.trace.arrays import RunSeries, as_series

__all__ = ["diagnose_context", "diagnose_series", "diagnose_trace", "find_all"]

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
    run = as_series(trace)
    context = DiagnosisContext(
        run,
        header=None if masked else trace.header,
        incidents=read_incidents(trace.path, run.events),
        controls=controls,
        outcome=outcome,
        running=is_locked(trace.path),
    )
    run_id = trace.header.run_id
    if trace.steps.height and trace.steps["loss"].null_count() == trace.steps.height:
        why = "the trace has no loss at any step, so no verdict is possible"
        return Diagnosis(run_id=run_id, verdict="inconclusive", why=why, end=end_of(context))
    return diagnose_context(context, run_id)


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
    context = DiagnosisContext(
        run, header=header, controls=controls, outcome=outcome, incidents=incidents
    )
    return diagnose_context(context, run_id)


def diagnose_context(context: DiagnosisContext, run_id: str = "") -> Diagnosis:
    """Diagnose a run with its context."""
    found = find_all(context)
    if context.stock:
        found = tuple(in_epochs(context, f) for f in found)
    findings = tuple(replace(f, resolved_by=resolver_of(context, f)) for f in found)
    signs = tuple(f for f in findings if is_sign(f))
    critical = [f for f in signs if f.severity == "critical"]
    end = end_of(context)
    outcome = learning_of(context, end)
    verdict, why = verdict_on(context, signs, outcome, end)
    causes = rank_causes(context, [f for f in signs if f.first_step is not None])
    first = min((f.first_step for f in critical if f.first_step is not None), default=None)
    trouble = max((f.last_step for f in critical if f.last_step is not None), default=None)
    return Diagnosis(
        run_id=run_id,
        verdict=verdict,
        why=why,
        cause=causes[0].name if causes else None,
        causes=causes,
        findings=advised(findings, causes, context.header),
        time_to_divergence=None if first is None else first - context.step_at(0),
        learning=outcome.learning,
        end=end,
        rescued=rescued_of(context, trouble),
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
