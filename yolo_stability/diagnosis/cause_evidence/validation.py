"""Evidence that a run fails in validation only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from yolo_stability.core.text import count
from yolo_stability.diagnosis.cause_evidence.base import CauseEvidence
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.trace.arrays import Bools, EpochSeries

__all__ = ["evaluation_event", "from_validation", "validation_fails_alone"]

_EVENT = "evaluation"


def from_validation(context: DiagnosisContext, *, earlier: bool) -> Iterator[CauseEvidence]:
    """Yield evidence of validation losses that are not finite while training losses are.

    Args:
        context: The run.
        earlier: Whether a leap of the learning rate or updates that are too large came before:
            they break the statistics that only validation uses.
    """
    epochs = validation_fails_alone(context)
    if not epochs.any():
        return
    first = int(context.epochs.epoch[np.argmax(epochs)]) + 1
    text = (
        f"the validation losses of {count(int(epochs.sum()), 'epoch')}, first epoch {first}, were "
        "not finite while the training losses were"
    )
    found = evaluation_event(context)
    if found and found.get("text"):
        text = f"{text}: {found['text']}"
    yield CauseEvidence(weights={"evaluation": 1.5 if earlier else 7.0}, text=text)


def evaluation_event(context: DiagnosisContext) -> Mapping[str, object]:
    """Return what the training found about its first such validation; empty if nothing."""
    return next(({**e.data, "block": e.block} for e in context.run.events if e.kind == _EVENT), {})


def validation_fails_alone(context: DiagnosisContext) -> Bools:
    """Return which epochs have a validation loss that is not finite, but finite training losses."""
    epochs = context.epochs
    bad = np.zeros(epochs.epoch.size, dtype=bool)
    for name, values in epochs.values.items():
        if name.startswith("val/"):
            bad |= ~np.isfinite(values) & ~_missing(epochs, name) & epochs.validated
    result: Bools = bad & _training_finite(context)
    return result


def _missing(epochs: EpochSeries, name: str) -> Bools:
    """Return in which epochs a column has no cell."""
    return epochs.missing.get(name, np.zeros(epochs.epoch.size, dtype=bool))


def _training_finite(context: DiagnosisContext) -> Bools:
    """Return which epochs had finite training losses in every step that counted, and such a step.

    A model whose every step was skipped is the one that the training has broken.
    """
    epochs, run = context.epochs, context.run
    finite = np.ones(epochs.epoch.size, dtype=bool)
    for name, values in epochs.values.items():
        if name.startswith("train/"):
            finite &= np.isfinite(values) | _missing(epochs, name)
    if not context.stock:
        skipped = run.guard | run.scaler
        finite &= ~np.isin(epochs.epoch, run.epoch[context.bad & ~skipped])
        finite &= np.isin(epochs.epoch, run.epoch[~context.bad & ~skipped])
    return finite
