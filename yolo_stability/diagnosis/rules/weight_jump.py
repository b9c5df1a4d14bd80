"""Weights that change by more than the updates of the optimizer explain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from yolo_stability.core.findings import Finding
from yolo_stability.core.text import brief
from yolo_stability.core.types import CauseName
from yolo_stability.diagnosis.base import Rule
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import healthy_run
from yolo_stability.trace.arrays import Bools, Floats, RunSeries

__all__ = ["WeightJump"]

_RESTORES = {"rescue", "rollback", "nan_recovery", "oom_restart", "resume", "guard_stop"}
"""Events at which this package or Ultralytics itself replaces weights."""


@dataclass(frozen=True, kw_only=True)
class WeightJump(Rule):
    """Weights that changed by more than the updates of the optimizer explain.

    Critical if a block's weights are multiplied or erased by something else; else a warning.

    An update of u times the weights changes their norm by at most u times, so that the norms of
    two sampled steps and the updates between them limit each other. Where steps between were not
    sampled, the larger of the two updates stands for each of them. Resumes, recoveries, rollbacks
    and rescues restore weights and are skipped.

    Attributes:
        warning: Unexplained relative change of a norm that causes a warning; callbacks that prune
            or renormalize weights cause it, too.
        critical: Factor by which a norm grew or shrank that is critical: the layer computes
            something else.
        margin: Multiple of the explained change that is still explained, when each step was
            sampled.
        gap: The same with steps between that were not sampled, whose updates may have been larger.
    """

    sign: ClassVar[str] = "weights changed outside the optimizer"
    supports: ClassVar[tuple[CauseName, ...]] = ("settings",)
    warning: float = 0.1
    critical: float = 2.0
    margin: float = 2.0
    gap: float = 6.0

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Check each pair of sampled steps; report the first critical jump, or the first."""
        run = context.run
        if run.sampled.size < 2:
            return
        factor, explained = self._changes(run)
        with np.errstate(invalid="ignore", over="ignore"):
            change = np.abs(factor - 1)
            jumped = (change > self.warning) & (change > explained)
            jumped &= np.isfinite(explained) & ~_restored(run)
            severe = jumped & ((factor >= self.critical) | (factor <= 1 / self.critical))
        hits = severe if severe.any() else jumped
        columns = np.flatnonzero(hits.any(axis=0))
        if not columns.size:
            return
        at = int(columns[0])
        blocks = np.flatnonzero(hits[:, at])
        distance = np.abs(np.log(np.maximum(factor[blocks, at], 1e-30)))
        yield self._report(context, at, int(blocks[np.argmax(distance)]), factor, blocks.size)

    def _changes(self, run: RunSeries) -> tuple[Floats, Floats]:
        """Return the factors (B, K-1) of the norms, and the changes that updates explain."""
        weights, updates = (
            values.astype(np.float64) for values in (run.weight_norm, run.update_ratio)
        )
        steps = np.diff(run.sampled)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            factor = np.where(weights[:, :-1] > 0, weights[:, 1:] / weights[:, :-1], np.nan)
            between = np.fmax(updates[:, :-1], updates[:, 1:])
            # the updates of steps that were not sampled add up
            each = np.where(steps == 1, updates[:, :-1], between)
            grown = np.where(steps == 1, self.margin * each, self.gap * steps * each)
            explained = np.maximum(np.expm1(np.minimum(grown, 50.0)), 0.0)
        # a step that was skipped changes nothing, whatever was measured
        return factor, np.where(np.isnan(updates[:, :-1]), np.nan, explained)

    def _report(
        self, context: DiagnosisContext, at: int, block: int, factor: Floats, blocks: int
    ) -> Finding:
        """Return the finding about the change between two sampled steps."""
        run = context.run
        value = float(factor[block, at])
        row, last = int(run.sampled[at]) + 1, int(run.sampled[at + 1])
        when = (
            f"before step {context.step_at(last)}"
            if row == last
            else f"between steps {context.step_at(row - 1)} and {context.step_at(last)}"
        )
        changed = "became 0" if value == 0 else f"changed by a factor of {brief(value)}"
        more = f", as did those of {blocks - 1} more blocks" if blocks > 1 else ""
        severe = value >= self.critical or value <= 1 / self.critical
        return self.found(
            "critical" if severe else "warning",
            f"the weights of {run.names[block]} {changed} {when}, which the updates do not "
            f"explain{more}",
            context=context,
            rows=(row, last + 1),
            block=run.names[block],
            observed=value,
            threshold=self.critical if severe else 1 + self.warning,
            remedy="look for a callback or other code that changes weights during the training",
        )

    @classmethod
    def example(cls) -> RunSeries:
        """Return a run in which the weights of one block are multiplied by 1000 before step 40."""
        run = healthy_run()
        sampled = np.arange(50)
        weights = np.full((len(run.names), 50), 8.0, dtype=np.float32)
        weights[2, 40:] *= 1000
        updates = np.full_like(weights, 0.01)
        return replace(run, sampled=sampled, weight_norm=weights, update_ratio=updates)


def _restored(run: RunSeries) -> Bools:
    """Return the pairs (K-1,) of sampled steps between which weights may have been restored."""
    before, after = run.sampled[:-1], run.sampled[1:]
    restored: Bools = run.attempt[before] != run.attempt[after]
    steps = run.step[before], run.step[after]
    for event in run.events:
        if event.kind in _RESTORES:
            restored |= (event.step > steps[0]) & (event.step <= steps[1])
    return restored
