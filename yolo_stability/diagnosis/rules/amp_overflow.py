"""AMP's scaler skips steps after its calibration, or its scale has dropped below 1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from yolo_stability.core.findings import Finding
from yolo_stability.core.text import brief, count
from yolo_stability.core.types import CauseName
from yolo_stability.diagnosis.base import Rule
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import healthy_run, with_rows
from yolo_stability.trace.arrays import RunSeries

__all__ = ["AmpOverflow"]


@dataclass(frozen=True, kw_only=True)
class AmpOverflow(Rule):
    """Steps that overflow in 16-bit arithmetic (AMP) and are skipped, once that should be over.

    AMP's scaler multiplies the loss, so that small gradients do not become 0 in float16, and skips
    a step whose gradients overflow. Some skips at the start are normal: the scaler looks for its
    scale. It is a warning if they continue, and critical if most steps are lost or the scale falls
    below 1.

    Attributes:
        calibration: Steps at the start that do not count. The scale begins at 65,536 and halves at
            each skip, so 24 steps are enough to settle at any usable scale.
        rate: Share of skipped steps that is a warning. A settled scaler doubles its scale, and so
            risks one skip, only every 2,000 steps.
        window: Steps over which the shares are counted. In so many, three single skips raise no
            alarm.
        lost: Share of skipped steps that is critical: above one half, most of the training does
            not take place.
        scale: Scale of the loss that is critical. Below 1 gradients overflow although nothing
            enlarges them, so float16 cannot hold them.
    """

    sign: ClassVar[str] = "overflow under AMP"
    supports: ClassVar[tuple[CauseName, ...]] = ("numeric_range",)
    calibration: int = 24
    rate: float = 0.1
    window: int = 32
    lost: float = 0.5
    scale: float = 1.0

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Check the skips and the scale."""
        run = context.run
        late = run.scaler.copy()
        late[: self.calibration] = False
        share = np.convolve(late, np.ones(self.window), "full")[: late.size] / self.window
        with np.errstate(invalid="ignore"):
            tiny = np.flatnonzero(run.amp_scale < self.scale)
        often = np.flatnonzero(share > self.rate)
        lost = np.flatnonzero(share > self.lost)
        remedy = "amp=False, or lower lr_mult= so that gradients shrink"
        if tiny.size or lost.size:
            row = int(min([*tiny[:1], *lost[:1]]))
            scale = brief(float(run.amp_scale[row]))
            text = f"at step {context.step_at(row)} AMP's scale was {scale}, and "
            text += f"{count(int(run.scaler[: row + 1].sum()), 'step')} had overflowed"
            yield self.found(
                "critical", text, context=context, rows=(row, run.step.size), remedy=remedy
            )
        elif often.size:
            row = int(often[0])
            text = f"AMP's scaler skipped {count(int(late.sum()), 'step')} after its calibration"
            yield self.found(
                "warning",
                text,
                context=context,
                rows=(row, int(often[-1]) + 1),
                observed=float(share[row]),
                threshold=self.rate,
                remedy=remedy,
            )

    @classmethod
    def example(cls) -> RunSeries:
        """Return a run in which every second step overflows, long after the start."""
        run = healthy_run()
        skipped = (np.arange(96) % 2 == 0) & (np.arange(96) >= 40)
        return with_rows(run, slice(None), scaler=skipped, amp_scale=1024.0)
