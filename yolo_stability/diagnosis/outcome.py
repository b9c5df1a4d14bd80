"""What a run achieved: whether its model learned, and what ended the trouble that it had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from yolo_stability.core.findings import End, Finding
from yolo_stability.core.text import brief
from yolo_stability.core.types import Learning
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.hard_evidence import LAST, HardEvidence, hard_evidence
from yolo_stability.diagnosis.skill import TOP1, Skill, skill_of
from yolo_stability.trace.arrays import Bools, Floats

__all__ = ["HardEvidence", "LearningResult", "hard_evidence", "learning_of", "resolver_of"]

NOTHING = 0.01
"""Skill below which a model finds next to nothing. A best below it is noise that cannot be lost."""
SOME = 0.05
"""Skill from which a short run has learned; once it is long, `NOTHING` suffices, since large sets
with many classes start slowly and are learned for hundreds of epochs."""
LOST = 0.1
"""Share of the best skill below which nothing is left of it."""
HALF = 0.5
"""Share of the best skill below which a model has declined: healthy validations waver less."""
LONG_STEPS = 2_000
"""Optimizer steps after which a model that finds nothing is not merely young."""
LONG_EPOCHS = 100
"""The same in epochs, where steps are unknown."""
_ORDERLY = ("finished", "stopped")


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningResult:
    """Whether the model that a run ended with has learned.

    Attributes:
        learning: learned, declined, not_learned, too_early or unknown.
        text: What that rests on, in half a sentence; empty where nothing was validated.
        hard: Hard evidence that it learned nothing; None without any.
    """

    learning: Learning
    text: str = ""
    hard: HardEvidence | None = None


def learning_of(context: DiagnosisContext, end: End | None) -> LearningResult:
    """Return whether the model that a run ended with has learned.

    Args:
        context: The run.
        end: How it ended.
    """
    if not context.epochs.validated.any():
        return LearningResult(learning="unknown", text="the model was never validated")
    skill = skill_of(context)
    measured = skill is not None and bool(skill.row.size)
    classified = TOP1 in context.epochs.values
    hard = hard_evidence(context) if measured or classified else None
    if hard is not None:
        return LearningResult(learning="not_learned", text=hard.text, hard=hard)
    if skill is None or not measured:
        return LearningResult(
            learning="unknown", text="no metric measures what the model has learned"
        )
    return _by_skill(context, skill, end)


def _by_skill(context: DiagnosisContext, skill: Skill, end: End | None) -> LearningResult:
    """Return what the skill at the validations shows; there is at least one."""
    value = skill.value
    best, last = float(value.max()), float(value[-1])
    long = _is_long(context)
    final = value[-LAST:]
    lost = final < LOST * best
    if best >= NOTHING and final.size == LAST and lost.all():
        return LearningResult(learning="not_learned", text=_fallen(skill, "lost"))
    if last < NOTHING and long and _is_late(context, end):
        return LearningResult(learning="not_learned", text=_at_the_end(context, skill))
    # while a run starts, loaded weights may be lost and found again
    settled = value.size >= 2 * LAST
    if best >= NOTHING and settled and _has_declined(final, lost, best):
        return LearningResult(learning="declined", text=_fallen(skill, "fell"))
    if last >= (NOTHING if long else SOME) and last >= HALF * best:
        return LearningResult(learning="learned", text=_at_the_end(context, skill))
    return LearningResult(learning="too_early", text=_at_the_end(context, skill))


def _has_declined(final: Floats, lost: Bools, best: float) -> bool:
    return bool((final < HALF * best).all() and not lost.all())


def _is_long(context: DiagnosisContext) -> bool:
    """Return whether a run is so long that its model should find something."""
    if context.stock:
        return int(context.epochs.epoch[-1]) + 1 >= LONG_EPOCHS
    return context.run.step.size >= LONG_STEPS


def _is_late(context: DiagnosisContext, end: End | None) -> bool:
    """Return whether a run has come to its end, or past half of the planned epochs."""
    if end is None or end.state in _ORDERLY:
        return True
    return end.epochs_planned is not None and 2 * end.epochs_done > end.epochs_planned


def _at_the_end(context: DiagnosisContext, skill: Skill) -> str:
    """Return the metric at the last validation, and the best where that is another."""
    planned = context.settings.get("epochs")
    known = isinstance(planned, int) and not isinstance(planned, bool)
    of = f" of {planned:,}" if known and not context.settings.get("time") else ""
    metric = np.nan_to_num(skill.metric)
    text = f"{skill.name} {brief(float(metric[-1]))} in epoch {skill.epoch[-1] + 1:,}{of}"
    top = int(np.argmax(skill.value))
    if skill.value[-1] < HALF * skill.value[top]:
        text += f", after {brief(float(metric[top]))} in epoch {skill.epoch[top] + 1:,}"
    return text


def _fallen(skill: Skill, verb: str) -> str:
    """Return how far the metric fell from its best."""
    metric, top = np.nan_to_num(skill.metric), int(np.argmax(skill.value))
    first, last = skill.epoch[-LAST] + 1, skill.epoch[-1] + 1
    highest = float(metric[-LAST:].max())
    left = "0" if highest == 0 else f"at most {brief(highest)}"
    return (
        f"{skill.name} {verb} from {brief(float(metric[top]))} in epoch {skill.epoch[top] + 1:,} "
        f"to {left} in the validations of epochs {first:,} to {last:,}"
    )


def resolver_of(context: DiagnosisContext, finding: Finding) -> Literal["guard", "rescue"] | None:
    """Return what ended the trouble that a finding reports; None if nothing did.

    A rescue did if it acted after the last step concerned and did not give up; the guard did if it
    skipped every bad step and the run continued.

    Args:
        context: The run.
        finding: A warning or a critical finding.
    """
    kinds = {event.kind for event in context.run.events}
    if finding.severity == "info" or finding.last_step is None or finding.first_step is None:
        return None
    rescues = [event.step for event in context.run.events if event.kind == "rescue"]
    if rescues and "rescue_stop" not in kinds and finding.last_step <= rescues[-1]:
        return "rescue"
    if context.run.stop_step is not None:
        return None
    step = context.run.step
    rows = (step >= finding.first_step) & (step <= finding.last_step)
    skipped, bad = context.run.guard[rows], context.bad[rows]
    if finding.rule == "non_finite":
        survived = finding.severity == "warning" and not np.any(bad & ~skipped)
        return "guard" if skipped.any() and survived else None
    return "guard" if skipped.size and skipped.all() and finding.last_step < step[-1] else None
