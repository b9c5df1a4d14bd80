"""A loss that rises far above the level it had reached and stays there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from yolo_stability.core.findings import Finding
from yolo_stability.core.text import brief
from yolo_stability.core.types import CauseName
from yolo_stability.diagnosis.base import USUAL_RATE, Rule
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import healthy_run, with_rows
from yolo_stability.diagnosis.rolling import first_to_last, spans
from yolo_stability.trace.arrays import RunSeries

__all__ = ["Divergence"]


@dataclass(frozen=True, kw_only=True)
class Divergence(Rule):
    """A loss that rises far above the level that it had reached, and stays there.

    It is critical. In a benchmark, which has a control run, a loss far above the control's first is
    a warning.

    Attributes:
        factor: Multiple of the lowest level (a running median) that counts as high. A healthy loss
            returns to its level; a factor of 5 undoes all that was learned.
        lasting: Consecutive steps above it. A bad batch lasts for one.
        floor: Least level, as a share of the first loss. The loss of YOLO26 pose may fall to 0 or
            below, and 5 times nearly nothing would be no limit.
        control: Multiple of the control's first loss that is a warning. Other seeds and settings
            differ by far less.
    """

    sign: ClassVar[str] = "a loss that rises and stays high"
    supports: ClassVar[tuple[CauseName, ...]] = ("learning_rate",)
    factor: float = 5.0
    lasting: int = 5
    floor: float = 0.2
    control: float = 100.0

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Compare with the run's own history, else with the start of the control."""
        finding = self._above_past(context) or self._above_control(context)
        if finding is not None:
            yield finding

    def _above_past(self, context: DiagnosisContext) -> Finding | None:
        loss, first = context.run.loss, context.first_loss
        if not self.floor * first > 0:
            return None
        limit = self.factor * np.fmax(context.lowest_loss, self.floor * first)
        high = loss > limit
        found = [
            (b, e) for b, e in spans(high | ~np.isfinite(loss), self.lasting) if high[b:e].any()
        ]
        if not found:
            return None
        begin, end = found[0][0], found[-1][1]
        row = begin + int(np.argmax(high[begin:end]))
        known = min(begin + self.lasting - 1, loss.size - 1)
        top = float(np.max(loss[row:end], where=np.isfinite(loss[row:end]), initial=loss[row]))
        level = float(limit[row]) / self.factor
        text = (
            f"from step {context.step_at(row)} on the loss stayed above {brief(self.factor)} times "
            f"the level it had reached ({brief(level)}), with a maximum of {brief(top)}"
        )
        return self.found(
            "critical",
            text,
            context=context,
            rows=(max(known, row), end),
            block=context.block_of(row),
            observed=top / level,
            threshold=self.factor,
            remedy=f"{USUAL_RATE}, or clip=agc:0.01 under SGD",
        )

    def _above_control(self, context: DiagnosisContext) -> Finding | None:
        firsts = [
            abs(float(c.loss[np.isfinite(c.loss)][0]))
            for c in context.others
            if np.isfinite(c.loss).any()
        ]
        usual = float(np.median(firsts)) if firsts else 0.0
        span = first_to_last(context.run.loss > self.control * usual, self.lasting)
        if span is None or not usual > 0:
            return None
        loss = float(context.run.loss[span[0]])
        text = f"the loss was {brief(loss)} at step {context.step_at(span[0])}, "
        text += f"{brief(loss / usual)} times the control's first"
        return self.found(
            "warning",
            text,
            context=context,
            rows=(span[0] + self.lasting - 1, span[1]),
            observed=loss / usual,
            threshold=self.control,
        )

    @classmethod
    def example(cls) -> RunSeries:
        """Return a run whose loss jumps to a thousand."""
        return with_rows(healthy_run(), slice(70, 96), loss=1000.0)
