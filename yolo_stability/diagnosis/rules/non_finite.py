"""NaN or Inf in the loss, a gradient or a buffer: applied, or skipped by the guard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from yolo_stability.core.findings import Finding
from yolo_stability.core.text import count
from yolo_stability.core.types import CauseName
from yolo_stability.diagnosis.base import Rule
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import healthy_run, with_rows
from yolo_stability.trace.arrays import RunSeries

__all__ = ["NonFinite"]


@dataclass(frozen=True, kw_only=True)
class NonFinite(Rule):
    """NaN or Inf in the loss or in a gradient.

    One such update makes every weight NaN. It is critical if the update was applied, or if the
    guard was still skipping steps at the end. It is a warning if the guard skipped the step and the
    run recovered. Skips by AMP's scaler are not counted here: see `amp_overflow`.

    Attributes:
        recovered: Finite steps at the end of a run that count as a recovery. One good step between
            two bad ones is none.
        share: Share of skipped steps above which the guard does not help: most of the training
            does not take place.
        window: Steps over which `share` is counted, so that a few single skips raise no alarm.
    """

    sign: ClassVar[str] = "NaN or Inf"
    supports: ClassVar[tuple[CauseName, ...]] = (
        "data",
        "numeric_range",
        "module",
        "initialization",
    )
    recovered: int = 5
    share: float = 0.5
    window: int = 20

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Check for elements that are not finite."""
        run = context.run
        bad = context.bad & ~run.scaler
        applied = np.flatnonzero(bad & ~run.guard)
        if applied.size:
            yield self._applied(context, int(applied[0]), int(applied[-1]) + 1)
        if run.guard.any():
            yield self._kept_out(context)
        elif run.stop_step is not None and not applied.size:
            row = min(int(np.searchsorted(run.step, run.stop_step)), run.step.size - 1)
            text = f"the guard stopped the run at step {run.stop_step}"
            yield self.found("critical", text, context=context, rows=(row, row + 1), remedy=_LOOK)

    def _applied(self, context: DiagnosisContext, row: int, end: int) -> Finding:
        run = context.run
        what = "gradients were" if np.isfinite(run.loss[row]) else "the loss was"
        block = context.block_of(row)
        where = f"; first in {block}" if block else ""
        step = context.step_at(row)
        text = f"{what} not finite from step {step} on, and the updates were applied{where}"
        remedy = "guard=skip skips such a step and continues"
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
        start = f"starting at step {context.step_at(first)}"
        text = f"the guard skipped {count(rows.size, 'step')}, {start}, "
        text += "and the run did not recover" if lost else "and the run continued"
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
        """Return a run whose gradient is NaN from one step to the end."""
        run = with_rows(healthy_run(), slice(60, 96), nonfinite=7, norm=np.nan, block_norm=np.nan)
        return replace(
            run, bad_block=np.array([1]), bad_row=np.array([60]), bad_count=np.array([7])
        )


_LOOK = "see the incident folder, if there is one, for the module and the images of that step"
