"""AMP's scaler skips steps after its calibration, or its scale has dropped below 1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from yolo_stability.core.findings import Finding
from yolo_stability.core.text import brief, count
from yolo_stability.diagnosis.base import Rule
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import healthy_run, with_rows
from yolo_stability.trace.arrays import RunSeries

__all__ = ["AmpOverflow"]


@dataclass(frozen=True, kw_only=True)
class AmpOverflow(Rule):
    """Critical if most steps overflow or the scale is below 1; a warning if skips continue.

    Attributes:
        calibration: First steps, in which the scaler may halve its scale any number of times.
        rate: Share of skips in a window of `window` steps that causes a warning; the scaler itself
            doubles its scale, and so risks one skip, every 2000 steps.
        window: See `rate`.
        lost: Share of skips above which hardly anything is learned.
        scale: Scale below which float16 is unsuitable.
    """

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
