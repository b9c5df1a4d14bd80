"""Ranking of the causes of an instability: first from the trace alone, then with the settings.

Each piece of evidence supports one or more causes with a weight; a cause's score is its share of
all weights. The weights are expert estimates, checked on labeled faults by `benchmark
suite=faults`; `unknown` always has a constant weight, so that weak evidence yields low scores.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from yolo_stability.core.findings import Cause, Finding
from yolo_stability.core.text import brief
from yolo_stability.core.types import CauseName
from yolo_stability.diagnosis.cause_evidence.base import CauseEvidence
from yolo_stability.diagnosis.cause_evidence.incidents import from_incidents
from yolo_stability.diagnosis.cause_evidence.rules import from_rules
from yolo_stability.diagnosis.cause_evidence.settings import from_settings
from yolo_stability.diagnosis.cause_evidence.validation import from_validation
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.rolling import ratio_of, swing
from yolo_stability.trace.arrays import median_of

__all__ = ["rank_causes"]

_UNKNOWN = 0.5
_SUDDEN = 8  # if healthy steps precede trouble after this step, the model's structure is no cause
_HUGE_GRADIENT = 1e4
_LEADING = 16  # updates above their limit so many steps before a bad one lead up to it
_LED_UP = 0.06  # updates above it preceded a jump
_WAVER, _CALM_LOSS = 48, 0.12


def rank_causes(context: DiagnosisContext, findings: Sequence[Finding]) -> tuple[Cause, ...]:
    """Return the causes with any evidence, most likely first; none for a run without findings.

    Args:
        context: The run; its header provides the settings, and None hides them.
        findings: Findings of the rules, only those that make a run unstable.
    """
    if not findings:
        return ()
    onset = _onset_row(context, findings)
    evidence = list(_from_trace(context, findings, onset))
    if context.header is not None:
        evidence += from_settings(context, sudden=onset > _SUDDEN and not _structural(evidence))
    scores: dict[CauseName, float] = defaultdict(float)
    texts: dict[CauseName, tuple[float, str]] = {}
    for item in evidence:
        for cause, weight in item.weights.items():
            scores[cause] += weight
            if weight > texts.get(cause, (0.0, ""))[0]:
                texts[cause] = (weight, item.text)
    total = sum(scores.values()) + _UNKNOWN
    ranked = [Cause(name=c, score=s / total, evidence=texts[c][1]) for c, s in scores.items()]
    ranked.append(
        Cause(name="unknown", score=_UNKNOWN / total, evidence="not explained by the evidence")
    )
    return tuple(sorted(ranked, key=lambda cause: -cause.score))


def _onset_row(context: DiagnosisContext, findings: Sequence[Finding]) -> int:
    """Return the position of the first sign of trouble."""
    first = min((f.first_step for f in findings if f.first_step is not None), default=0)
    return min(int(np.searchsorted(context.run.step, first)), max(context.run.step.size - 1, 0))


def _structural(evidence: Sequence[CauseEvidence]) -> bool:
    return any(
        {"normalization", "activation", "initialization"} & set(item.weights) for item in evidence
    )


def _from_trace(
    context: DiagnosisContext, findings: Sequence[Finding], onset: int
) -> Iterator[CauseEvidence]:
    """Yield evidence from the trace."""
    if not context.run.step.size:
        return
    rules = {f.rule: f for f in findings}
    starts = (_at_the_start(context, rules), _against_weights(context), _along_depth(context))
    built_in = [item for item in starts if item is not None]
    yield from built_in
    yield from from_rules(rules)
    rate = _rate_jump(context, onset)
    if rate is not None:
        yield rate
    earlier = rate is not None or _updates_before(context, rules)
    yield from from_validation(context, earlier=earlier)
    incidents = list(from_incidents(context, earlier=earlier))
    yield from incidents
    # the batch is blamed only if nothing earlier or better known is
    sudden = None if incidents or earlier else _sudden(context, rules, onset)
    if sudden is not None:
        yield sudden
    if "amp_overflow" in rules:
        yield CauseEvidence(weights={"numeric_range": 4.0}, text=rules["amp_overflow"].message)
    if "noise" in rules:
        alone = not any(f.severity == "critical" for f in findings)
        yield _wavering(context, rules["noise"], 2.0 if alone else 0.5)
    strange = sudden is not None or (bool(incidents) and not earlier)
    yield from _growing(context, rules, weight=0.3 if built_in else 1.0, sudden=strange)


def _at_the_start(context: DiagnosisContext, rules: Mapping[str, Finding]) -> CauseEvidence | None:
    """Return evidence of bad initial weights: an absurd loss before any update."""
    found = rules.get("exploding")
    if found is None or found.first_step != context.step_at(0) or not context.begins:
        return None
    return CauseEvidence(weights={"initialization": 5.0, "normalization": 1.0}, text=found.message)


def _along_depth(context: DiagnosisContext) -> CauseEvidence | None:
    """Return evidence from the gradients along the depth before any update can matter."""
    ratio = context.depth[:4][np.isfinite(context.depth[:4])]
    if not context.begins or not ratio.size:
        return None
    middle = float(median_of(ratio))
    text = f"in the first steps the first block's gradient was {brief(middle)} times the head's"
    if middle < 1e-8:
        return CauseEvidence(
            weights={"activation": 4.0, "normalization": 2.0, "depth": 0.5}, text=text
        )
    if middle < 1e-4:
        return CauseEvidence(
            weights={"normalization": 4.0, "depth": 1.0, "activation": 1.0}, text=text
        )
    if middle < 3e-3:
        return CauseEvidence(
            weights={"normalization": 2.0, "depth": 1.5, "activation": 1.0}, text=text
        )
    return None


def _against_weights(context: DiagnosisContext) -> CauseEvidence | None:
    """Return evidence of gradients too large for the weights: a huge early update at a usual rate.

    Under plain SGD an update over the learning rate is that ratio; healthy pose models start at
    6e3, detection at 30.
    """
    run = context.run
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero(run.update[:_SUDDEN] > 1)
    if not context.begins or not rows.size:
        return None
    row = int(rows[0])
    share = float(ratio_of(run.update[row], run.lr[row]))
    if not share > _HUGE_GRADIENT:
        return None
    text = (
        f"the gradient of step {context.step_at(row)} was {brief(share)} times as large as the "
        "weights"
    )
    return CauseEvidence(weights={"initialization": 4.0, "normalization": 2.0}, text=text)


def _wavering(context: DiagnosisContext, found: Finding, weight: float) -> CauseEvidence:
    """Return evidence from noise: of the batches if the loss is noisy, else of large inputs."""
    row = int(np.searchsorted(context.run.step, found.first_step or 0))
    losses = context.run.loss[max(0, row - _WAVER) : row + 1]
    share = float(swing(losses, losses.size)[-1]) if losses.size > 2 else float("nan")
    if share < _CALM_LOSS:
        return CauseEvidence(
            weights={"data": weight, "batch_noise": 0.5},
            text=f"{found.message}, while the loss did not",
        )
    return CauseEvidence(weights={"batch_noise": weight}, text=found.message)


def _rate_jump(context: DiagnosisContext, onset: int) -> CauseEvidence | None:
    """Return evidence of a learning rate that jumped during the run."""
    lr = context.run.lr[: onset + 2]
    if lr.size < 2 or not np.isfinite(lr).any():
        return None
    before = np.fmax.accumulate(lr)[:-1]
    leap = ratio_of(lr[1:], before)
    leap[:_SUDDEN] = np.nan  # a warm-up starts near 0
    if not (leap > 5).any():
        return None
    row = int(np.nanargmax(leap))
    text = (
        f"the learning rate jumped by a factor of {brief(float(leap[row]))} at step "
        f"{context.step_at(row + 1)}"
    )
    return CauseEvidence(weights={"learning_rate": 6.0}, text=text)


def _updates_before(context: DiagnosisContext, rules: Mapping[str, Finding]) -> bool:
    """Return whether updates above their limit led up to the first bad step."""
    run, found = context.run, rules.get("update_ratio")
    bad = np.flatnonzero((context.bad | run.guard) & ~run.scaler)
    if found is None or not bad.size or found.first_step is None:
        return False
    row = int(bad[0])
    before = slice(0 if found.severity == "critical" else max(0, row - _LEADING), row)
    steps = run.step[before]
    with np.errstate(invalid="ignore"):
        high = run.update[before] > (found.threshold or 0.0)
    return bool((high & (steps >= found.first_step)).any())


def _sudden(
    context: DiagnosisContext, rules: Mapping[str, Finding], onset: int
) -> CauseEvidence | None:
    """Return evidence from non-finite numbers or a jump without any earlier sign."""
    run = context.run
    bad = np.flatnonzero((context.bad | run.guard) & ~run.scaler)
    if "non_finite" in rules and bad.size:
        row = int(bad[0])
        return _bad_step(context, row) if _quiet_before(context, row) else None
    spike = rules.get("spike")
    if spike is None or onset <= _SUDDEN or spike.first_step is None:
        return None
    return _leap(context, int(np.searchsorted(run.step, spike.first_step)))


def _leap(context: DiagnosisContext, row: int) -> CauseEvidence | None:
    """Return evidence from one jump: in one block only, at the input first, or everywhere."""
    step, jump = context.step_at(row), context.jump[:, row]
    risen = float(ratio_of(context.run.loss[row], context.usual_loss[row]))
    known = np.nan_to_num(jump)
    if (known > 10).sum() == 1 and known.argmax() > 0 and not risen > 2:
        text = f"at step {step} one block alone jumped and the loss did not, which no batch causes"
        return CauseEvidence(weights={"numeric_range": 3.0, "data": 0.5}, text=text)
    if known.size > 1 and known[0] > max(5.0, 3 * float(np.median(known[1:]))):
        text = (
            f"at step {step} the first block jumped more than the others: its input was too large"
        )
        return CauseEvidence(weights={"data": 3.0}, text=text)
    with np.errstate(invalid="ignore"):
        led_up = (context.run.update[max(0, row - _SUDDEN) : row] > _LED_UP).any()
    if risen > 3 and not led_up:
        text = (
            f"at step {step} loss and gradients jumped together after normal steps, which points "
            "to one batch"
        )
        return CauseEvidence(weights={"data": 2.0, "learning_rate": 0.7}, text=text)
    return None


def _quiet_before(context: DiagnosisContext, row: int) -> bool:
    """Return whether no sign preceded a bad step: no huge update, no rising loss or norm."""
    run = context.run
    before = slice(max(0, row - _SUDDEN), row)
    if not row:
        return True
    with np.errstate(invalid="ignore"):
        large = (run.update[before] > 1).any()
        risen = (ratio_of(run.norm[before], context.usual_norm[before]) > 30).any()
        level = np.nan_to_num(context.lowest_loss[before], nan=context.first_loss)
        lost = (ratio_of(run.loss[before], np.fmax(level, 0.2 * context.first_loss)) > 4).any()
        absurd = run.loss[before].max(initial=0.0) > 1e5
    return not (large or risen or lost or absurd)


def _bad_step(context: DiagnosisContext, row: int) -> CauseEvidence:
    """Return evidence from a first bad step: only a non-finite loss points to the batch."""
    run = context.run
    step = context.step_at(row)
    if step == 0 and not (context.bad | run.guard)[1:].all():
        text = "the very first step was not finite but later ones were, which points to the batch"
        return CauseEvidence(weights={"data": 5.0, "numeric_range": 0.7}, text=text)
    if step == 0:
        text = "the very first step was not finite, before any update"
        return CauseEvidence(
            weights={"initialization": 3.0, "data": 2.0, "numeric_range": 0.7}, text=text
        )
    if not np.isfinite(run.loss[row]):
        text = (
            f"the loss of step {step} was not finite after normal steps, which points to the batch"
        )
        return CauseEvidence(weights={"data": 5.0, "numeric_range": 0.7}, text=text)
    blocks = np.unique(run.bad_block[run.bad_row == row]).size
    text = (
        f"at step {step} the loss was finite and the gradients of {blocks} of {len(run.names)} "
        "blocks were not"
    )
    return CauseEvidence(weights={"numeric_range": 5.0, "data": 0.7}, text=text)


def _growing(
    context: DiagnosisContext, rules: Mapping[str, Finding], *, weight: float, sudden: bool
) -> Iterator[CauseEvidence]:
    """Yield evidence of updates that are too large."""
    update = rules.get("update_ratio")
    if update is not None and not sudden:
        strength = 4.0 if update.severity == "critical" else 1.5
        yield CauseEvidence(weights={"learning_rate": strength * weight}, text=update.message)
    for rule in ("divergence", "collapse", "exploding", "oscillation", "clip_saturation"):
        found = rules.get(rule)
        if found is not None and found.first_step and (rule == "collapse" or not sudden):
            # no single image makes the loss vanish
            strength = 2.0 if rule == "collapse" else 0.7
            yield CauseEvidence(weights={"learning_rate": strength * weight}, text=found.message)
    if "dead_block" in rules:
        yield CauseEvidence(weights={"activation": 1.0}, text=rules["dead_block"].message)
