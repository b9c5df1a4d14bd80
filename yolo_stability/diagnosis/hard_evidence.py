"""Hard evidence that a model has learned nothing, whatever its length of training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from yolo_stability.core.text import count, listing, percent
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.evidence import box_gain
from yolo_stability.diagnosis.skill import TOP1, skill_of
from yolo_stability.trace.arrays import Floats, Ints

__all__ = ["LAST", "HardEvidence", "broken_losses", "hard_evidence"]

LAST = 3
"""Validations at the end that count: one or two may be an accident, such as an early overflow."""
_STEPS = 8
"""Steps with objects after which a part that was never above 0 is no accident."""
_ROWS = 3
"""The same for the rows of a run without a trace, each of which is the mean of an epoch."""
_NAMED = 3
_TRAINABLE = 0.02
"""Share of the weights below which next to nothing is trainable: normalization layers alone are
about 1 %, the smallest head about 10 %."""
_PRIMARY = ("box_loss", "giou_loss")
_SECONDARY = ("dfl_loss", "l1_loss")
"""Parts of the box loss. A secondary part is 0 by design where boxes are not distributions, so it
counts only where a primary part is not recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HardEvidence:
    """One reason to be sure that a model has learned nothing.

    Attributes:
        kind: validation, no_match, no_objects, one_class or trainable.
        text: Observation in half a sentence.
        column: Column of `results.csv` concerned; None without one.
        epochs: First and last epoch concerned, counted from 0; None without one.
    """

    kind: str
    text: str
    column: str | None = None
    epochs: tuple[int, int] | None = None


def hard_evidence(context: DiagnosisContext) -> HardEvidence | None:
    """Return the first hard evidence that a model has learned nothing; None without any.

    Args:
        context: The run.
    """
    checks = (_lost_validations, _one_class, _no_match, _no_objects, _nothing_trainable)
    return next((item for check in checks if (item := check(context)) is not None), None)


def broken_losses(context: DiagnosisContext, rows: Ints) -> dict[str, Ints]:
    """Return the validation losses that were written as NaN or Inf, with the rows concerned.

    Args:
        context: The run.
        rows: Indices into the epochs.
    """
    found = {}
    for name, values in context.epochs.values.items():
        missing = context.epochs.missing.get(name, np.zeros(values.size, dtype=bool))
        bad = rows[~np.isfinite(values[rows]) & ~missing[rows]]
        if name.startswith("val/") and bad.size:
            found[name] = bad
    return found


def _lost_validations(context: DiagnosisContext) -> HardEvidence | None:
    """Find last validations whose losses are not finite while the metric is 0 or not finite."""
    skill = skill_of(context)
    if skill is None or not skill.row.size:
        return None
    broken = broken_losses(context, skill.row)
    bad = np.zeros(skill.row.size, dtype=bool)
    for rows in broken.values():
        bad |= np.isin(skill.row, rows)
    lost = bad & ~(skill.metric > 0)
    if not lost[-LAST:].all():
        return None
    begin = int(np.flatnonzero(~lost)[-1]) + 1 if not lost.all() else 0
    first, last = int(skill.epoch[begin]), int(skill.epoch[-1])
    names = [name for name, rows in broken.items() if skill.row[-1] in rows] or list(broken)
    when = f"epoch {first + 1:,}" if first == last else f"epochs {first + 1:,} to {last + 1:,}"
    text = f"{listing(names[:_NAMED])} not finite and {skill.name} 0 in the validations of {when}"
    return HardEvidence(kind="validation", text=text, column=names[0], epochs=(first, last))


def _one_class(context: DiagnosisContext) -> HardEvidence | None:
    """Find a classification with one class, whose loss is 0 from the start."""
    accuracy = context.epochs.values.get(TOP1)
    if accuracy is None and context.settings.get("task") != "classify":
        return None
    loss = context.run.loss
    nothing = loss.size >= (_ROWS if context.stock else _STEPS) and not np.any(loss != 0)
    if context.settings.get("nc") != 1 and not nothing:
        return None
    text = "the data set has one class, so that there is nothing to learn"
    return HardEvidence(kind="one_class", text=text)


def _no_match(context: DiagnosisContext) -> HardEvidence | None:
    """Find a part of the box loss that was 0 although there were objects."""
    parts = {name: values for name, values in _box_parts(context) if _has_gain(context, name)}
    for name in [n for n in _PRIMARY if n in parts] or [n for n in _SECONDARY if n in parts]:
        values = parts[name]
        if context.stock:
            known = ~np.isnan(values)
            enough, what = _ROWS, "epoch"
        else:
            known, enough, what = context.run.objects > 0, _STEPS, "step"
        if known.sum() >= enough and not np.any(values[known] != 0):
            where = "" if context.stock else " with objects"
            text = f"{name} was exactly 0 in all {count(int(known.sum()), what)}{where}: no object "
            text += "was ever matched"
            epoch = context.run.epoch[known]
            return HardEvidence(
                kind="no_match",
                text=text,
                column=f"train/{name}",
                epochs=(int(epoch[0]), int(epoch[-1])),
            )
    return None


def _box_parts(context: DiagnosisContext) -> Iterator[tuple[str, Floats]]:
    """Yield the recorded parts of the box loss by name."""
    for name in (*_PRIMARY, *_SECONDARY):
        values = (
            context.epochs.values.get(f"train/{name}")
            if context.stock
            else context.run.losses.get(name)
        )
        if values is not None and values.size:
            yield name, values


def _has_gain(context: DiagnosisContext, part: str) -> bool:
    """Return whether a part counts in the loss; Ultralytics' gains are above 0 by default."""
    gain = box_gain(context, part)
    return gain is None or gain > 0


def _no_objects(context: DiagnosisContext) -> HardEvidence | None:
    """Find a last complete epoch in which no step had an object."""
    run, recorded = context.run, context.epochs.epoch
    if context.stock or not run.step.size:
        return None
    ended = int(recorded[-1]) if recorded.size else int(run.epoch[-1]) - 1
    objects = run.objects[run.epoch == ended]
    if not objects.size or not np.all(objects == 0):
        return None
    text = f"no image had an object after augmentation in epoch {ended + 1:,}"
    return HardEvidence(kind="no_objects", text=text, epochs=(ended, ended))


def _nothing_trainable(context: DiagnosisContext) -> HardEvidence | None:
    """Find a model without loaded weights of which next to nothing is trained."""
    share = _trained_share(context)
    if share is None or share >= _TRAINABLE or _is_loaded(context):
        return None
    text = f"only {percent(share)} of the weights of a new model are trainable"
    return HardEvidence(kind="trainable", text=text)


def _trained_share(context: DiagnosisContext) -> float | None:
    """Return the share of the weights that are trainable; None where it is unknown."""
    share = context.settings.get("trainable_share")
    if isinstance(share, int | float):
        return float(share)
    total = context.settings.get("parameters")
    if context.header is None or not isinstance(total, int) or total <= 0:
        return None
    blocks = context.header.blocks
    return sum(block.numel for block in blocks) / total if blocks else None


def _is_loaded(context: DiagnosisContext) -> bool:
    """Return whether the run began with loaded weights; true where that is unknown."""
    known = context.settings
    if isinstance(known.get("loaded"), bool):
        return bool(known["loaded"])
    new = str(known.get("model", "")).endswith((".yaml", ".yml"))
    return not new or isinstance(known.get("pretrained"), str) or bool(known.get("resume"))
