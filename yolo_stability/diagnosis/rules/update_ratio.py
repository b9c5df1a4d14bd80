"""Updates as large as the weights: the first sign in failing runs, 1 to 45 steps ahead."""

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
from yolo_stability.trace.arrays import Bools, RunSeries

__all__ = ["UpdateRatio"]


@dataclass(frozen=True, kw_only=True)
class UpdateRatio(Rule):
    """A step that changes the weights of a block by as much as their own size.

    That replaces the weights instead of improving them, and is often the first sign of a run that
    fails, 1 to 45 steps ahead. It is critical if an update replaces the weights, and a warning if
    it comes near that. AdamW changes every weight by the learning rate at first, so small blocks
    start at 0.3 in healthy runs. One update that replaces trained weights is enough: the next is
    compared with weights that it has enlarged, and may look harmless.

    Attributes:
        warning: Update over weights that is a warning in the first steps: twice what healthy runs
            begin with.
        young: Number of these first steps. After 16 steps none of 122 healthy runs of YOLOv8n was
            above 0.044.
        grown: Update over weights that is a warning after them, just above those 122 runs.
        critical: Update over weights that is critical: 1 replaces them.
        twice: Number of updates above `critical` that it takes in the first steps, where weights
            are still close to random.
        beyond: Update over weights of which one is critical at any time: three times the
            weights.
    """

    sign: ClassVar[str] = "an update as large as the weights"
    supports: ClassVar[tuple[CauseName, ...]] = ("learning_rate",)
    warning: float = 0.6
    young: int = 16
    grown: float = 0.05
    critical: float = 1.0
    twice: int = 2
    beyond: float = 3.0

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Check the largest ratio of each measured step."""
        update, young = context.run.update, self._young(context)
        with np.errstate(invalid="ignore"):
            over, beyond = update > self.critical, update > self.beyond
            allowed = np.where(young, self.warning, self.grown)
            high = update > allowed
        if not high.any():
            return
        rows = np.flatnonzero((over & (~young | (over.cumsum() >= self.twice))) | beyond)
        row = int(rows[0]) if rows.size else int(np.argmax(high))
        severity, limit = (
            ("critical", self.critical) if rows.size else ("warning", float(allowed[row]))
        )
        last = int(np.flatnonzero(high)[-1]) + 1
        name = context.run.names[int(context.run.update_block[row])]
        factor = f"{brief(update[row])} times as large as"
        text = f"the update at step {context.step_at(row)} was {factor} {name}'s weights"
        yield self.found(
            "critical" if severity == "critical" else "warning",
            text,
            context=context,
            rows=(row, last),
            block=name,
            observed=float(update[row]),
            threshold=limit,
            remedy=f"{USUAL_RATE}, or a longer warm-up (warmup_epochs=3)",
        )

    def _young(self, context: DiagnosisContext) -> Bools:
        """Return which steps are among the first ones, also after a rollback to the very start."""
        step = context.run.step
        return (np.arange(step.size) if context.begins else step) < self.young

    @classmethod
    def example(cls) -> RunSeries:
        """Return a run whose updates replace the weights."""
        return with_rows(healthy_run(), slice(2, 6), update=8.0)
