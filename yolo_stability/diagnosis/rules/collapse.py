"""Loss and gradients of exactly 0: the usual end of detection at a huge learning rate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from yolo_stability.core.findings import Finding
from yolo_stability.core.text import brief
from yolo_stability.core.types import CauseName
from yolo_stability.diagnosis.base import USUAL_RATE, Rule
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import healthy_run, with_rows
from yolo_stability.diagnosis.rolling import first_span
from yolo_stability.trace.arrays import RunSeries

__all__ = ["Collapse"]


@dataclass(frozen=True, kw_only=True)
class Collapse(Rule):
    """Loss and gradients that are exactly or almost 0: the model has stopped learning.

    Detection mostly ends there under a learning rate that is far too high, and the loss looks
    perfect. It is always critical. A loss that is almost 0 counts only after a blow-up or with
    vanished gradients: the loss of YOLO26 pose contains a log-likelihood and comes near 0 in
    healthy runs.

    Attributes:
        lasting: Consecutive steps. The loss may cross 0 for a step or two by chance.
        remains: Share of the first loss, and of the first gradient norms, that counts as almost 0.
            Five recorded healthy runs kept at least a fifteenth of the loss and a thirtieth of the
            norm.
        blow_up: Multiple of the first loss that must come before, if some loss remains. It
            separates a failed run from one whose loss comes near 0 because it learns.
    """

    sign: ClassVar[str] = "a loss of zero"
    supports: ClassVar[tuple[CauseName, ...]] = ("learning_rate",)
    lasting: int = 5
    remains: float = 1e-3
    blow_up: float = 5.0

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Check for the first span."""
        run, first = context.run, context.first_loss
        zero = (run.loss == 0) & (run.norm == 0)
        blown = run.loss > self.blow_up * first
        flat = context.norm < self.remains * context.first_norm
        small = (abs(run.loss) < self.remains * first) & ((blown.cumsum() > 0) | flat)
        span = first_span(zero | small, self.lasting)
        if span is None:
            return
        begin, end = span
        if context.begins and not (run.loss[:begin] != 0).any():
            return  # it never had a loss: other rules find the reason
        what = (
            "loss and gradients were exactly 0"
            if zero[begin:end].all()
            else "the loss was almost 0"
        )
        when = f"for {end - begin} steps from step {context.step_at(begin)} on"
        text = f"{what} {when}: the model has stopped learning"
        if blown[:begin].any():
            text += f", after a loss of {brief(float(run.loss[:begin][blown[:begin]].max()))}"
        yield self.found(
            "critical",
            text,
            context=context,
            rows=(min(begin + self.lasting - 1, run.step.size - 1), end),
            block=context.block_of(begin),
            observed=0.0,
            threshold=self.remains,
            remedy=f"restart with {USUAL_RATE} or a longer warm-up: these weights do not recover",
        )

    @classmethod
    def example(cls) -> RunSeries:
        """Return a run whose loss is zero from one step on."""
        return with_rows(healthy_run(), slice(50, 96), loss=0.0, norm=0.0, block_norm=0.0)
