"""A loss that has not changed since the first steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from yolo_stability.core.findings import Finding
from yolo_stability.core.text import brief
from yolo_stability.diagnosis.base import Rule
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import healthy_run, with_rows
from yolo_stability.trace.arrays import RunSeries, median_of

__all__ = ["Stall"]


@dataclass(frozen=True, kw_only=True)
class Stall(Rule):
    """A loss that is the same at the end as at the start.

    This is advice: the run itself is not called unstable for it, since a pretrained model starts on
    the plateau that a new one should reach.

    Attributes:
        few: Steps at either end whose medians are compared. One step alone depends on its batch.
        least: Steps that a run must have. Warm-up takes many of the first ones.
        moved: Share of the first loss by which it should have changed. In five recorded healthy
            runs it had fallen by 0.46 or more after 64 steps.
    """

    sign: ClassVar[str] = "a loss that does not decrease"
    unsettles: ClassVar[bool] = False
    few: int = 16
    least: int = 64
    moved: float = 0.03

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Compare the start with the end."""
        loss = context.run.loss
        if loss.size < self.least or not context.begins:
            return
        begin, end = float(median_of(loss[: self.few])), float(median_of(loss[-self.few :]))
        if not abs(end - begin) < self.moved * abs(begin):
            return
        text = (
            f"the loss is {brief(end)} after {loss.size} steps, almost unchanged from "
            f"{brief(begin)}"
        )
        yield self.found(
            "info",
            text,
            context=context,
            rows=(loss.size - self.few, loss.size),
            observed=(begin - end) / begin if begin else 0.0,
            threshold=self.moved,
            remedy=(
                "check the learning rate and frozen layers; a pretrained model may have converged"
            ),
        )

    @classmethod
    def example(cls) -> RunSeries:
        """Return a run with a constant loss."""
        return with_rows(healthy_run(), slice(None), loss=50.0)
