"""A loss that alternates from step to step by a large share of itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from yolo_stability.core.findings import Finding
from yolo_stability.core.text import brief
from yolo_stability.core.types import CauseName
from yolo_stability.diagnosis.base import Rule
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import healthy_run, with_rows
from yolo_stability.diagnosis.rolling import first_span, ratio_of
from yolo_stability.trace.arrays import RunSeries, median_of

__all__ = ["Oscillation"]


@dataclass(frozen=True, kw_only=True)
class Oscillation(Rule):
    """A loss that jumps up and down at every step by a large share of itself.

    Each step is too long and lands on the other side of the minimum. It is a warning.

    Attributes:
        swing: Change from one step to the next, as a share of the loss. In five recorded healthy
            runs the loss never reversed by that much.
        lasting: Consecutive steps that each reverse the one before. In five recorded healthy runs
            smaller changes did so up to 10 times running, so `swing` is needed as well.
        floor: Least level of the loss, as a share of the first loss: that of YOLO26 pose may cross
            0, of which any change would be a large share.
    """

    sign: ClassVar[str] = "an oscillating loss"
    supports: ClassVar[tuple[CauseName, ...]] = ("learning_rate",)
    swing: float = 0.5
    lasting: int = 10
    floor: float = 0.2

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Check for changes of alternating sign."""
        loss = context.run.loss
        if loss.size < self.lasting + 2:
            return
        with np.errstate(invalid="ignore", over="ignore"):
            change = np.diff(loss)
            level = np.fmax(
                np.minimum(np.abs(loss[1:]), np.abs(loss[:-1])), self.floor * context.first_loss
            )
            share = np.abs(ratio_of(change, level))
            reversed_ = (np.sign(change[1:]) * np.sign(change[:-1]) < 0) & (share[1:] > self.swing)
        span = first_span(reversed_, self.lasting)
        if span is None:
            return
        begin, end = span[0] + 2, span[1] + 2
        middle = float(median_of(share[begin - 1 : end - 1]))
        text = (
            f"from step {context.step_at(begin)} on the loss alternated at every step by "
            f"{brief(middle)} times its level"
        )
        yield self.found(
            "warning",
            text,
            context=context,
            rows=(begin + self.lasting - 1, end),
            observed=middle,
            threshold=self.swing,
            remedy="a lower learning rate (lr_mult=0.3) or a larger nominal batch (nbs=)",
        )

    @classmethod
    def example(cls) -> RunSeries:
        """Return a run whose loss alternates between 10 and 30."""
        return with_rows(healthy_run(), slice(40, 96), loss=np.where(np.arange(56) % 2, 30.0, 10.0))
