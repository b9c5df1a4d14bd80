"""A clip that reduces every step by orders of magnitude and so determines all updates."""

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
from yolo_stability.diagnosis.rolling import first_to_last
from yolo_stability.trace.arrays import RunSeries

__all__ = ["ClipSaturation"]


@dataclass(frozen=True, kw_only=True)
class ClipSaturation(Rule):
    """A clip that leaves almost nothing of the gradient, step after step.

    Clipping shortens a gradient that is longer than a limit. Healthy YOLO runs are clipped at
    nearly every step, to a tenth of the gradient or, in the first steps of pose, to a
    ten-thousandth, so only far smaller shares count: then only the clip keeps the numbers finite,
    and the model does not learn.

    Attributes:
        critical: Share of the gradient that remains, below which the run is failing. The smallest
            of five recorded healthy runs was 1.7e-4, so a millionth is far outside.
        soon: Consecutive steps below `critical`. One bad batch does not last that long.
        warning: Share that is a warning if it lasts. Healthy pose runs begin below it.
        lasting: Consecutive steps below `warning`. The healthy pose run was below it for 3 steps,
            so ten times as many are not the start of a run.
    """

    sign: ClassVar[str] = "clipping that removes almost all of the gradient"
    supports: ClassVar[tuple[CauseName, ...]] = ("learning_rate",)
    critical: float = 1e-6
    soon: int = 4
    warning: float = 1e-3
    lasting: int = 32

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Check for the first span of tiny coefficients."""
        clip = context.run.clip
        bounds = ("critical", self.critical, self.soon), ("warning", self.warning, self.lasting)
        for severity, limit, length in bounds:
            with np.errstate(invalid="ignore"):
                span = first_to_last(clip < limit, length)
            if span is None:
                continue
            middle = float(np.median(clip[span[0] : span[1]]))
            share = brief(middle) if middle > 0 else "almost 0"
            text = (
                f"from step {context.step_at(span[0])} on clipping reduced the gradient to {share} "
                "of its norm: clipping prevents NaN, not failure"
            )
            yield self.found(
                "critical" if severity == "critical" else "warning",
                text,
                context=context,
                rows=(span[0] + length - 1, span[1]),
                observed=middle,
                threshold=limit,
                remedy=f"{USUAL_RATE}, or clip=agc:0.01 under SGD",
            )
            return

    @classmethod
    def example(cls) -> RunSeries:
        """Return a run with gradients of 1e12 under a clip of 10."""
        return with_rows(healthy_run(), slice(40, 96), clip=1e-11)
