"""Gradients that do not reach the first blocks: far below the head's or the control's."""

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
from yolo_stability.diagnosis.rolling import first_to_last
from yolo_stability.trace.arrays import RunSeries, median_of

__all__ = ["Vanishing"]


@dataclass(frozen=True, kw_only=True)
class Vanishing(Rule):
    """Gradients that hardly reach the first blocks of the model, so that only the head learns.

    The measure is the gradient norm of the first block over that of the head. A healthy run
    starts near 1 and ends with some hundredths, since the head continues to learn; without
    normalization it starts at 1e-6. It is critical if it is tiny at the start or becomes so.
    In a benchmark, which has a control run, a block far below the control's is a warning.

    Attributes:
        at_once: Ratio that is critical if the first 4 steps are all below it. Five recorded healthy
            runs began between 0.4 and 1.1.
        begin: Median ratio of the first `few` steps that is critical; three times this value is a
            warning.
        few: Steps at the start whose median is taken, since single ratios vary.
        later: Ratio that is critical at any time if it lasts. Five recorded healthy runs never fell
            below 0.0067.
        lasting: Consecutive steps below `later`, so that a few odd batches do not count.
        control: Share of the control's norm, for a block of the backbone during `few` steps, that
            is a warning. Seeds and recipes differ by less.
    """

    sign: ClassVar[str] = "a vanishing gradient"
    supports: ClassVar[tuple[CauseName, ...]] = ("normalization", "activation", "depth")
    drawn: ClassVar[str] = "depth"
    at_once: float = 1e-4
    begin: float = 1e-3
    few: int = 16
    later: float = 1e-5
    lasting: int = 32
    control: float = 1e-3

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Check the start, then the later steps, then the control."""
        seeks = (self._from_the_start, self._later, self._below_control)
        found = [finding for seek in seeks if (finding := seek(context)) is not None]
        if found:  # report the first of the most severe, so that later findings do not replace it
            yield min(found, key=lambda f: (f.severity != "critical", f.first_step or 0))

    def _from_the_start(self, context: DiagnosisContext) -> Finding | None:
        if not context.begins:
            return None
        ratio = context.depth[: self.few]
        ratio = ratio[np.isfinite(ratio)]
        if ratio.size >= 4 and (ratio[:4] < self.at_once).all():
            return self._finding(
                context,
                "critical",
                float(median_of(ratio[:4])),
                self.at_once,
                (3, context.run.step.size),
            )
        if ratio.size < self.few:
            return None
        middle = float(np.median(ratio))
        if middle >= 3 * self.begin:
            return None
        severity = "critical" if middle < self.begin else "warning"
        rows = (self.few - 1, context.run.step.size)
        return self._finding(context, severity, middle, self.begin, rows)

    def _later(self, context: DiagnosisContext) -> Finding | None:
        if not context.early:
            return None
        depth = context.depth
        dead = context.run.block_norm[context.early[0]] == 0
        span = first_to_last((depth < self.later) | (dead & (context.run.norm > 0)), self.lasting)
        if span is None:
            return None
        middle = float(np.nan_to_num(median_of(depth[span[0] : span[1]])))
        return self._finding(
            context, "critical", middle, self.later, (span[0] + self.lasting - 1, span[1])
        )

    def _below_control(self, context: DiagnosisContext) -> Finding | None:
        low = []
        for block in context.early if context.controls else ():
            span = first_to_last(context.block_ratio(block, slice(None)) < self.control, self.few)
            if span is not None:
                low.append((span[0], block))
        if not low:
            return None
        row = min(low)[0]
        window = slice(row, row + self.few)
        ratio, block = min(
            (float(median_of(context.block_ratio(block, window))), block) for _, block in low
        )
        name = context.run.names[block]
        step = context.step_at(row)
        text = f"gradients of {name} were {brief(ratio)} times the control's from step {step} on"
        return self.found(
            "warning",
            text,
            context=context,
            rows=(row + self.few - 1, row + self.few),
            block=name,
            observed=ratio,
            threshold=self.control,
            remedy=_REMEDY,
        )

    def _finding(
        self,
        context: DiagnosisContext,
        severity: str,
        ratio: float,
        limit: float,
        rows: tuple[int, int],
    ) -> Finding:
        name = context.run.names[context.early[0]]
        text = f"gradients of {name}, the first block, were {brief(ratio)} times those of the head"
        return self.found(
            "critical" if severity == "critical" else "warning",
            text,
            context=context,
            rows=rows,
            block=name,
            observed=ratio,
            threshold=limit,
            remedy=_REMEDY,
        )

    @classmethod
    def example(cls) -> RunSeries:
        """Return a run whose first block receives a millionth of the gradient."""
        run = healthy_run()
        norms = run.block_norm.copy()
        norms[0] *= 1e-6
        return with_rows(run, slice(None), block_norm=norms)


_REMEDY = (
    "norm=batch or norm=group; without normalization init=lsuv; "
    "act=silu instead of a saturating activation"
)
