"""NaN or Inf in the loss, a gradient or a buffer: applied, or kept out by the guard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from yolo_stability.core.findings import Finding
from yolo_stability.core.text import count
from yolo_stability.diagnosis.base import Rule
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import healthy_run, with_rows
from yolo_stability.trace.arrays import RunSeries

__all__ = ["NonFinite"]


@dataclass(frozen=True, kw_only=True)
class NonFinite(Rule):
    """Critical where it was applied, or where the guard was still skipping at the end; else a warning.

    AMP's scaler calibrates itself by skipping, which is no trouble; `amp_overflow` sees to it.

    Attributes:
        recovered: Steps without any after the last one that count as a recovery.
        share: A guard that skips more than this share of any `window` steps saves nothing.
        window: See `share`.
    """

    recovered: int = 5
    share: float = 0.5
    window: int = 20

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Look for elements that are not finite."""
        run = context.run
        bad = context.bad & ~run.scaler
        applied = np.flatnonzero(bad & ~run.guard)
        if applied.size:
            yield self._applied(context, int(applied[0]), int(applied[-1]) + 1)
        if run.guard.any():
            yield self._kept_out(context)
        elif run.stop_step is not None and not applied.size:
            row = min(int(np.searchsorted(run.step, run.stop_step)), run.step.size - 1)
            text = f"the guard ended the run at step {run.stop_step}"
            yield self.found("critical", text, context=context, rows=(row, row + 1), remedy=_LOOK)

    def _applied(self, context: DiagnosisContext, row: int, end: int) -> Finding:
        run = context.run
        what = "gradients were" if np.isfinite(run.loss[row]) else "the loss was"
        block = context.block_of(row)
        where = f"; it began in {block}" if block else ""
        text = f"{what} not finite from step {context.step_at(row)} on and applied{where}"
        remedy = "guard=skip leaves such a step out and goes on"
        return self.found(
            "critical",
            text,
            context=context,
            rows=(row, end),
            block=block,
            threshold=0.0,
            remedy=remedy,
        )

    def _kept_out(self, context: DiagnosisContext) -> Finding:
        run = context.run
        rows = np.flatnonzero(run.guard)
        first, last = int(rows[0]), int(rows[-1]) + 1
        lost = run.stop_step is not None or bool(
            run.guard[-self.recovered :].any() and not context.live
        )
        recent = (
            np.convolve(run.guard, np.ones(self.window), "valid")
            if run.step.size >= self.window
            else np.zeros(0)
        )
        lost |= bool((recent > self.share * self.window).any())
        text = f"the guard left out {count(rows.size, 'step')}, the first being step {context.step_at(first)}, "
        text += "and the run did not recover" if lost else "and the run went on"
        return self.found(
            "critical" if lost else "warning",
            text,
            context=context,
            rows=(first, last),
            block=context.block_of(first),
            observed=float(rows.size),
            threshold=0.0,
            remedy=_LOOK,
        )

    @classmethod
    def example(cls) -> RunSeries:
        """A gradient that is NaN from one step to the end."""
        run = with_rows(healthy_run(), slice(60, 96), nonfinite=7, norm=np.nan, block_norm=np.nan)
        return replace(
            run, bad_block=np.array([1]), bad_row=np.array([60]), bad_count=np.array([7])
        )


_LOOK = (
    "look at the incident folder for the image and the module, then take the image out or lower lr0"
)
