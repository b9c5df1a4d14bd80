"""The verdict on a run and its reason, from its findings, its outcome and its end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yolo_stability.core.findings import Diagnosis, End, Finding
from yolo_stability.core.text import brief, count, listing
from yolo_stability.core.types import VerdictWord
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.hard_evidence import broken_losses
from yolo_stability.diagnosis.outcome import LearningResult
from yolo_stability.diagnosis.rolling import ratio_of
from yolo_stability.diagnosis.rules import RULES
from yolo_stability.diagnosis.run_end import DIED, end_phrase

__all__ = ["FEW_STEPS", "is_sign", "noticed", "verdict_on"]

FEW_STEPS = 16
"""Fewer recorded steps say nothing: healthy and vanishing runs differ clearly from 16 to 32 on."""
_END, _END_ROWS = 8, 3
"""Steps, and rows of `results.csv`, that are the end: what extends into them was not overcome."""
_BROKEN_OFF = frozenset({"exception", "killed", "interrupted", "running"})
_OUTCOMES = frozenset({"validation", "no_match", "trainable"})
"""Rules that see that a model has learned nothing."""
_ENDED_BADLY = frozenset({"guard", "fail_on", "rescue"})


def is_sign(finding: Finding) -> bool:
    """Return whether a finding is a sign of instability, as opposed to advice."""
    known = finding.rule not in RULES or RULES[finding.rule].unsettles
    return finding.severity != "info" and known


def noticed(diagnosis: Diagnosis) -> bool:
    """Return whether a diagnosis reports trouble, by its verdict or by a finding.

    Warnings alone never change a verdict, but are heard.

    Args:
        diagnosis: Diagnosis of a run.
    """
    unresolved = any(is_sign(f) and f.resolved_by is None for f in diagnosis.findings)
    return diagnosis.verdict in {"failed", "unstable"} or unresolved


def verdict_on(
    context: DiagnosisContext, signs: Sequence[Finding], outcome: LearningResult, end: End | None
) -> tuple[VerdictWord, str]:
    """Return the verdict on a run and what it rests on, in one sentence.

    The first that fits: `failed`: the model did not learn, a critical finding lasts to the end, or
    the guard, `fail_on` or a rescue ended the run. `unstable`: any other unresolved critical
    finding, the model declined, or validation losses are not finite although it learns.
    `inconclusive`: it is too early to know, the run broke off, was stopped by its user or is in
    progress, or recorded too few steps. Else `stable`. Warnings alone change nothing.

    Args:
        context: The run.
        signs: Signs of instability, most severe first, then in chronological order.
        outcome: Whether the model learned.
        end: How the run ended.
    """
    for rule in (_failed, _unstable, _inconclusive):
        found = rule(context, signs, outcome, end)
        if found is not None:
            return found
    return "stable", "; ".join(_parts(_basis(outcome), _signs_or_calm(context, signs)))


Decision = tuple[VerdictWord, str] | None


def _failed(
    context: DiagnosisContext, signs: Sequence[Finding], outcome: LearningResult, end: End | None
) -> Decision:
    lasting = [f for f in _critical(signs) if _lasts(context, f)]
    not_learned = outcome.learning == "not_learned"
    stopped = end is not None and end.reason in _ENDED_BADLY
    if not (lasting or not_learned or stopped):
        return None
    main = next(iter(lasting or _critical(signs)), None)
    seen = "" if main is None else _with_first(main, signs)
    missed = f"not learned: {outcome.text}" if not_learned else ""
    if main is not None and not_learned and main.rule in _OUTCOMES:
        seen, missed = f"not learned: {seen}", ""  # the same observation
    reasons = _parts(seen, missed, _ending(context, end))
    return "failed", "; ".join(reasons)


def _unstable(
    context: DiagnosisContext, signs: Sequence[Finding], outcome: LearningResult, end: End | None
) -> Decision:
    critical, evaluation = _critical(signs), _broken_evaluation(context, outcome)
    declined = f"declined: {outcome.text}" if outcome.learning == "declined" else ""
    if not (critical or declined or evaluation):
        return None
    main = _with_first(critical[0], signs) if critical else ""
    return "unstable", "; ".join(_parts(main, declined, evaluation, _ending(context, end)))


def _inconclusive(
    context: DiagnosisContext, signs: Sequence[Finding], outcome: LearningResult, end: End | None
) -> Decision:
    steps = context.run.step.size
    open_ended = end is not None and (end.state in _BROKEN_OFF or end.reason == "user")
    rest = _signs_or_calm(context, signs)
    if not steps:
        return "inconclusive", "; ".join(_parts("no step was recorded", _ending(context, end)))
    if outcome.learning == "too_early":
        text = f"too early to know whether it learns: {outcome.text}"
        return "inconclusive", "; ".join(_parts(text, _ending(context, end), rest))
    if open_ended:
        basis = _basis(outcome) if outcome.learning == "learned" else ""
        return "inconclusive", "; ".join(_parts(_ending(context, end), basis, rest))
    if steps < FEW_STEPS and not context.stock:
        text = f"{count(steps, 'step')} without a lasting sign of trouble are too few for a verdict"
        return "inconclusive", f"{text}; at least {FEW_STEPS} are needed"
    if outcome.learning == "unknown" and not np.isfinite(context.run.norm).any():
        what = count(steps, "epoch" if context.stock else "step")
        text = f"the losses of {what} show no sign of trouble" if not signs else rest
        return "inconclusive", f"{text}, but no gradient was recorded and {outcome.text}"
    return None


def _parts(*texts: str) -> list[str]:
    return [text for text in texts if text]


def _critical(signs: Sequence[Finding]) -> list[Finding]:
    """Return the critical findings that nothing resolved."""
    return [f for f in signs if f.severity == "critical" and f.resolved_by is None]


def _lasts(context: DiagnosisContext, finding: Finding) -> bool:
    """Return whether a finding extends into the end of the run."""
    last = finding.last_step
    return last is None or last > context.step_at(-1) - (_END_ROWS if context.stock else _END)


def _basis(outcome: LearningResult) -> str:
    """Return what the outcome rests on."""
    return f"learned: {outcome.text}" if outcome.learning == "learned" else outcome.text


def _ending(context: DiagnosisContext, end: End | None) -> str:
    """Return how a run ended; with the limit that a benchmark enforced, if it did."""
    if context.outcome in DIED:
        last = f"after step {context.step_at(-1)}" if context.run.step.size else "at its start"
        return f"{DIED[context.outcome]} {last}"
    return end_phrase(end, stock=context.stock)


def _broken_evaluation(context: DiagnosisContext, outcome: LearningResult) -> str:
    """Return the validation losses that are not finite at the end although the model learns."""
    rows = np.flatnonzero(context.epochs.validated)[-1:]
    broken = broken_losses(context, rows) if outcome.learning == "learned" else {}
    if not broken:
        return ""
    verb = "is" if len(broken) == 1 else "are"
    return f"{listing(broken)} {verb} not finite in the last validation, although {outcome.text}"


def _with_first(main: Finding, signs: Sequence[Finding]) -> str:
    """Return the message of a finding, with the first sign in time if that is another."""
    timed = [f for f in signs if f.first_step is not None and f is not main]
    first = min(timed, key=lambda f: f.first_step or 0, default=None)
    if first is None or (first.first_step or 0) >= (main.first_step or 0):
        return main.message
    return f"{main.message}; first sign: {first.message}"


def _signs_or_calm(context: DiagnosisContext, signs: Sequence[Finding]) -> str:
    """Return the first unresolved warning, else what was resolved, else that all was calm."""
    warnings = [f for f in signs if f.resolved_by is None]
    if warnings:
        rest = f" and {count(len(warnings) - 1, 'other warning')}" if len(warnings) > 1 else ""
        return f"a warning that decides nothing: {warnings[0].message}{rest}"
    if signs:
        return f"resolved by the {signs[0].resolved_by}: {signs[0].message}"
    if context.stock:
        return f"no sign of trouble in the losses of {count(context.run.step.size, 'epoch')}"
    text = f"no sign of trouble in {count(context.run.step.size, 'step')}"
    own = ratio_of(context.norm, context.usual_norm)
    if np.isfinite(own).any():
        highest = brief(float(np.nanmax(own)))
        text += f": the gradient norm reached {highest} times its running median"
    return text
