"""Gradients that stay far above the run's own history, its first steps, or the control."""

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
from yolo_stability.diagnosis.rolling import ratio_of, spans
from yolo_stability.trace.arrays import RunSeries

__all__ = ["Exploding"]


@dataclass(frozen=True, kw_only=True)
class Exploding(Rule):
    """A gradient norm that is far above what the run had before, for more than one step.

    It is critical if it lasts, if loss and norm jump together in the first 16 steps, or if the very
    first loss is absurd. In a benchmark, which has a control run, a norm far above the control's is
    a warning.

    Attributes:
        past: Multiple of the running median of the last 128 steps above which a norm is too high.
            Five recorded healthy runs stayed below 2.3 times.
        lasting: Consecutive steps above `past`. Fewer are a spike, which a run survives.
        leap: Multiple of the highest norm so far, in the first 16 steps, which have no usual level
            yet. In five recorded healthy runs it was at most 3.2.
        loss_leap: Multiple of the highest loss so far that must come with `leap`, since the norm
            alone varies at the start. In five recorded healthy runs it was at most 1.1.
        start: First loss for each image that is absurd, whatever follows. Those of YOLO are between
            5 and 500, for any task.
        start_sum: The same for the undivided loss of a batch, in traces of version 1.
        control: Multiple of the control's norm at the same step. Seeds and recipes differ by far
            less.
    """

    sign: ClassVar[str] = "an exploding gradient"
    supports: ClassVar[tuple[CauseName, ...]] = ("learning_rate", "initialization", "normalization")
    past: float = 50.0
    lasting: int = 3
    leap: float = 50.0
    loss_leap: float = 10.0
    start: float = 4e4
    start_sum: float = 3e5
    control: float = 100.0

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Check the start, the first steps, the whole run and the control, in this order."""
        seeks = (self._at_the_start, self._leaping, self._lasting, self._above_control)
        found = [finding for seek in seeks if (finding := seek(context)) is not None]
        if found:  # report the first of the most severe, so that later findings do not replace it
            yield min(found, key=lambda f: (f.severity != "critical", f.first_step or 0))

    def _at_the_start(self, context: DiagnosisContext) -> Finding | None:
        loss, norm = float(context.run.loss[0]), float(context.run.norm[0])
        limit = self.start if context.run.summed else self.start_sum
        if not context.begins or not loss > limit:
            return None
        text = (
            f"the first step had a loss of {brief(loss)} and a gradient norm of {brief(norm)}, "
            "before any update"
        )
        return self.found(
            "critical",
            text,
            context=context,
            rows=(0, 1),
            observed=loss,
            threshold=limit,
            remedy=(
                "init=default with norm=batch; 'yolo-stability probe' shows where the signal grows"
            ),
        )

    def _leaping(self, context: DiagnosisContext) -> Finding | None:
        run = context.run
        early = min(run.step.size, 16) if context.begins else 0
        if early < 2:
            return None
        norm, loss = context.norm[:early], np.abs(run.loss[:early])
        with np.errstate(invalid="ignore"):
            norms, losses = np.fmax.accumulate(norm), np.fmax.accumulate(loss)
        own, risen = ratio_of(norm[1:], norms[:-1]), ratio_of(loss[1:], losses[:-1])
        rows = np.flatnonzero((own > self.leap) & (risen > self.loss_leap)) + 1
        if not rows.size:
            return None
        row = int(rows[0])
        text = (
            f"the gradient norm jumped to {brief(run.norm[row])} at step {context.step_at(row)}, "
            f"{brief(own[row - 1])} times its previous maximum, and the loss rose "
            f"{brief(risen[row - 1])} times"
        )
        return self._critical(context, text, (row, row + 1), float(own[row - 1]), self.leap)

    def _lasting(self, context: DiagnosisContext) -> Finding | None:
        own = ratio_of(context.norm, context.usual_norm)
        flags = (own > self.past) | (context.bad & ~context.run.scaler)
        found = [(b, e) for b, e in spans(flags, self.lasting) if (own[b:e] > self.past).any()]
        if not found:
            return None
        span = found[0][0], found[-1][1]
        row = span[0] + int(np.argmax(own[span[0] : span[1]] > self.past))
        text = (
            f"from step {context.step_at(row)} on the gradient norm was {brief(own[row])} times "
            "its running median, for more than one step"
        )
        # known only at the last of the required steps
        rows = (max(span[0] + self.lasting - 1, row), span[1])
        return self._critical(context, text, rows, float(own[row]), self.past, row)

    def _above_control(self, context: DiagnosisContext) -> Finding | None:
        other = ratio_of(context.norm, context.expected_norm)
        rows = np.flatnonzero(other > self.control)
        if not rows.size:
            return None
        row = int(rows[0])
        text = (
            f"the gradient norm was {brief(context.run.norm[row])} at step {context.step_at(row)}, "
            f"{brief(other[row])} times the control's"
        )
        return self.found(
            "warning",
            text,
            context=context,
            rows=(row, int(rows[-1]) + 1),
            block=context.block_of(row),
            observed=float(other[row]),
            threshold=self.control,
        )

    def _critical(
        self,
        context: DiagnosisContext,
        text: str,
        rows: tuple[int, int],
        observed: float,
        threshold: float,
        at: int | None = None,
    ) -> Finding:
        block = context.block_of(rows[0] if at is None else at)
        return self.found(
            "critical",
            text + (f", most in {block}" if block else ""),
            context=context,
            rows=rows,
            block=block,
            observed=observed,
            threshold=threshold,
            remedy=f"{USUAL_RATE}, a longer warm-up (warmup_epochs=), clip=norm:10",
        )

    @classmethod
    def example(cls) -> RunSeries:
        """Return a run whose norm rises a thousandfold and stays there."""
        run = healthy_run()
        return with_rows(
            run, slice(60, 96), norm=run.norm[60:] * 1e3, block_norm=run.block_norm[:, 60:] * 1e3
        )
