"""Labels that the loss never sees: boxes without a match, no objects, a single class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from yolo_stability.core.findings import Finding
from yolo_stability.core.text import count, listing
from yolo_stability.core.types import CauseName
from yolo_stability.diagnosis.base import Rule
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.evidence import BOX_GAINS, box_gain, epochs_text
from yolo_stability.diagnosis.examples import healthy_run
from yolo_stability.diagnosis.rolling import spans
from yolo_stability.trace.arrays import Bools, Floats, Ints, RunSeries

__all__ = ["NoMatch"]

_CHECK = (
    "'yolo-stability data check' measures the boxes, which must be normalized exactly once; if "
    "they are sound, the predictions of the new model are out of range: 'yolo-stability probe'"
)
_CLASS = "loss"  # the only loss item of classification


@dataclass(frozen=True, kw_only=True)
class NoMatch(Rule):
    """Labeled boxes that are never matched with a prediction, so that their losses are exactly 0.

    Critical, since nothing can be learned from such labels; also while a run is in progress.

    A loss item of boxes is 0 only if no box is matched with a prediction: boxes are far too small,
    or predictions are out of range. Items whose gain is 0
    do not count, nor does `kobj_loss`, which is 0 by design for keypoints without visibility. If
    gains are unknown, all items of boxes must be 0.

    Attributes:
        steps: Steps with objects, from the first step of the run on, that must be 0. In a healthy
            run the first one is not.
        epochs: Epochs that must be 0 where the number of objects is unknown.
    """

    sign: ClassVar[str] = "boxes that are never matched"
    supports: ClassVar[tuple[CauseName, ...]] = ("data", "settings")
    steps: int = 8
    epochs: int = 3

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Check the number of classes, then objects, then losses; report the first."""
        seeks = (self._one_class, self._no_objects, self._unmatched)
        found = next((f for seek in seeks if (f := seek(context)) is not None), None)
        if found is not None:
            yield found

    # Classification

    def _one_class(self, context: DiagnosisContext) -> Finding | None:
        """Check for classification of a single class, by number or by a loss of 0 throughout."""
        settings, loss = context.settings, _items(context).get(_CLASS)
        if settings.get("task") != ("classify" if settings else None):
            return None
        enough = context.run.step.size >= (self.epochs if context.stock else self.steps)
        if settings.get("nc") == 1 and (enough or not context.live):
            text = "classification of a single class: its loss is 0 whatever the model predicts"
        elif enough and context.begins and loss is not None and self._throughout(context, loss):
            text = "the loss of classification was exactly 0 throughout, as with a single class"
        else:
            return None
        return self._report(
            context,
            text,
            rows=(0, context.run.step.size),
            column=f"train/{_CLASS}",
            observed=0.0,
            threshold=0.0,
            remedy="give train and val a folder for each of at least two classes",
        )

    def _throughout(self, context: DiagnosisContext, loss: Floats) -> bool:
        """Return whether a loss is 0 in all steps; in a run in progress the first ones decide."""
        return not loss[: self.steps if context.live else None].any()

    # Objects

    def _no_objects(self, context: DiagnosisContext) -> Finding | None:
        """Check for whole epochs without an object."""
        run, items = context.run, _items(context)
        boxes = [name for name in BOX_GAINS if name in items]
        if context.stock or not boxes or not np.isfinite(run.objects).any():
            return None
        empty = self._empty(context)
        span = next(spans(empty, self.steps), None)
        if span is None and not context.live and empty.size and empty.all():
            span = (0, empty.size)  # a short run
        if span is None:
            return None
        first, last = int(run.epoch[span[0]]), int(run.epoch[span[1] - 1])
        when = epochs_text(first, last, lasting=span[1] == run.step.size and first != last)
        return self._report(
            context,
            f"no step {when} had a labeled object{_of(context.settings.get('objects'))}",
            rows=span,
            column=f"train/{boxes[0]}",
            observed=0.0,
            threshold=1.0,
            remedy="'yolo-stability data check' shows where labels are lost",
        )

    def _empty(self, context: DiagnosisContext) -> Bools:
        """Return the steps of whole epochs in which no step had an object."""
        run = context.run
        _, place = np.unique(run.epoch, return_inverse=True)
        most = np.full(int(place.max()) + 1, -np.inf)
        np.maximum.at(most, place, np.where(np.isfinite(run.objects), run.objects, np.inf))
        whole = run.epoch < run.epoch[-1]
        if not context.live and run.completed:
            whole = np.ones_like(whole)
        if not context.begins:  # the window may start in the middle of an epoch
            whole &= run.epoch > run.epoch[0]
        empty: Bools = (most[place] == 0) & whole
        return empty

    # Losses of boxes

    def _unmatched(self, context: DiagnosisContext) -> Finding | None:
        """Check for losses of boxes that are exactly 0 from the first step on."""
        items = _items(context)
        known = {name: box_gain(context, name) for name in BOX_GAINS if name in items}
        counted = [name for name, gain in known.items() if gain != 0]
        if not counted or not context.begins:
            return None
        rows = self._rows(context, items[counted[0]])
        zeros = {name: _leading_zeros(items[name][rows]) for name in counted}
        enough = [name for name, number in zeros.items() if self._enough(context, rows, number)]
        if not enough or (None in known.values() and len(enough) < len(counted)):
            return None
        number = zeros[enough[0]]
        return self._zero_losses(context, enough, rows[:number], over=number < rows.size)

    def _rows(self, context: DiagnosisContext, item: Floats) -> Ints:
        """Return the steps that count: those with objects, or all if none is known."""
        objects = context.run.objects
        counts = objects > 0 if np.isfinite(objects).any() else np.ones(objects.size, dtype=bool)
        return np.flatnonzero(counts & ~np.isnan(item))

    def _enough(self, context: DiagnosisContext, rows: Ints, number: int) -> bool:
        """Return whether that many first zeros are evidence."""
        if context.stock:
            return number == rows.size >= self.epochs
        if number < self.steps:
            return False
        if np.isfinite(context.run.objects).any():
            return True
        epochs = np.unique(context.run.epoch[rows[:number]]).size
        if context.live:  # the last epoch is not over
            return epochs > self.epochs
        return number == rows.size and epochs >= self.epochs

    def _zero_losses(
        self,
        context: DiagnosisContext,
        names: list[str],
        rows: Ints,
        *,
        over: bool,
    ) -> Finding:
        """Report zeros; those that ended before the end of the run are a mere warning."""
        were = f"{listing(names)} {'was' if len(names) == 1 else 'were'} exactly 0"
        of = count(rows.size, "epoch" if context.stock else "step")
        if np.isfinite(context.run.objects).any():
            of += " with objects"
        if over:
            text = f"{were} in the first {of}: no box was matched in them"
        else:
            text = f"{were} in all {of}: no box of the labels was ever matched"
        end = int(rows[-1]) + 1 if over else context.run.step.size
        found = self._report(
            context,
            text,
            rows=(int(rows[0]), end),
            column=f"train/{names[0]}",
            observed=0.0,
            threshold=0.0,
            remedy=_CHECK,
        )
        return replace(found, severity="warning") if over and not context.live else found

    def _report(
        self,
        context: DiagnosisContext,
        message: str,
        *,
        rows: tuple[int, int],
        column: str,
        observed: float,
        threshold: float,
        remedy: str,
    ) -> Finding:
        """Create a critical finding with the epochs of its steps."""
        epoch = context.run.epoch
        return self.found(
            "critical",
            message,
            context=context,
            rows=rows,
            column=column,
            epochs=(int(epoch[rows[0]]), int(epoch[max(rows[0], rows[1] - 1)])),
            observed=observed,
            threshold=threshold,
            remedy=remedy,
        )

    @classmethod
    def example(cls) -> RunSeries:
        """Return a run with objects whose losses of boxes are exactly 0."""
        run = healthy_run()
        zero = np.zeros(run.step.size)
        losses = {"box_loss": zero, "cls_loss": run.loss, "dfl_loss": zero}
        return replace(run, objects=np.full(run.step.size, 40.0), losses=losses)


def _items(context: DiagnosisContext) -> Mapping[str, Floats]:
    """Return the loss items by step, which is an epoch of a run without a trace."""
    if not context.stock:
        return context.run.losses
    size, values = context.run.step.size, context.epochs.values
    return {
        name.removeprefix("train/"): column[:size]
        for name, column in values.items()
        if name.startswith("train/") and column.size >= size
    }


def _leading_zeros(values: Floats) -> int:
    above = np.flatnonzero(values != 0)
    return int(above[0]) if above.size else values.size


def _of(objects: object) -> str:
    """Describe what became of the objects in the labels, if their number is known."""
    if not isinstance(objects, int):
        return ""
    if objects == 0:
        return ": the labels hold none"
    return f", although the labels hold {count(objects, 'object')}"
