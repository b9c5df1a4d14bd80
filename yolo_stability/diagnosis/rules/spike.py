"""One or a few steps far above the steps before; the run continues."""

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
from yolo_stability.diagnosis.rolling import ratio_of
from yolo_stability.trace.arrays import Bools, Ints, Norms, RunSeries

__all__ = ["Spike"]


@dataclass(frozen=True, kw_only=True)
class Spike(Rule):
    """One or a few steps whose gradient is far above the steps before.

    The run continues afterwards, so it is a warning. A single spike is harmless; frequent ones mean
    that the data or the learning rate is at its limit.

    Attributes:
        total: Multiple of the running median of the total norm. Five recorded healthy runs stayed
            below 2.3 times.
        block: Multiple of the largest of the last 8 norms of one block, for a block that is then
            above the usual norm of the whole model.
        ever: Multiple of all earlier norms of that block. Heads for rare sizes of objects wake up
            when a batch holds one, which is no spike.
        alone: Smaller multiple that is enough for a block that jumps alone, since a batch or a rate
            moves its neighbors as well.
        apart: Times that such a block must be ahead of every other. In 150 healthy runs no block
            that jumped was 8 times ahead of the next.
        share: Share of the total norm below which a block does not matter.
        young: Steps at the start that do not count for blocks, since norms fall and vary there.
    """

    sign: ClassVar[str] = "a gradient spike"
    supports: ClassVar[tuple[CauseName, ...]] = ("data", "numeric_range", "learning_rate")
    total: float = 50.0
    block: float = 100.0
    ever: float = 3.0
    alone: float = 15.0
    apart: float = 10.0
    share: float = 1e-3
    young: int = 8

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Check the whole model, then each block."""
        whole = ratio_of(context.norm, context.usual_norm) > self.total
        jumped = self._jumped(context)
        rows = np.flatnonzero(whole | jumped.any(axis=0))
        if not rows.size:
            return
        row = int(rows[0])
        block, most = self._where(context, row, jumped[:, row])
        text = (
            f"the gradient norm spiked in {count(rows.size, 'step')}, first at step "
            f"{context.step_at(row)} with a norm of {brief(context.run.norm[row])}"
        )
        known = np.isfinite(most)  # unknown for 8 steps after a step without norms
        if block:
            text += f"; most in {block}"
        if block and known:
            text += f", {brief(most)} times its maximum of the previous 8 steps"
        yield self.found(
            "warning",
            text,
            context=context,
            rows=(row, int(rows[-1]) + 1),
            block=block,
            observed=most if known else float(ratio_of(context.norm, context.usual_norm)[row]),
            threshold=self._limit(most) if known else self.total,
            remedy="check the images of that step; clip=norm:10 bounds the effect of one step",
        )

    def _jumped(self, context: DiagnosisContext) -> Bools:
        """Return (B, S) whether a block jumped: far, or alone."""
        norms, jump = context.block_norm, context.jump
        jumped = np.zeros(norms.shape, dtype=bool)
        with np.errstate(invalid="ignore", over="ignore"):
            rows = np.flatnonzero((jump > min(self.block, self.alone)).any(axis=0))
            rows = rows[rows >= self.young]
            if not rows.size:
                return jumped
            now, leap = norms[:, rows], jump[:, rows]
            far = (
                (leap > self.block)
                & (now > context.usual_norm[rows])
                & (now > self.ever * _highest(norms, rows))
            )
            alone = self._apart(leap) & (now > self.ever * _highest(norms, rows, self.young))
            jumped[:, rows] = (far | alone) & (now > self.share * context.norm[rows])
        return jumped

    def _apart(self, leap: Norms) -> Bools:
        """Return where one of at least three blocks jumped far ahead of all others."""
        if len(leap) < 3:
            return np.zeros(leap.shape, dtype=bool)
        known = np.nan_to_num(leap, nan=0.0)
        apart: Bools = (known > self.alone) & (
            known > self.apart * np.partition(known, -2, axis=0)[-2]
        )
        return apart

    def _where(
        self, context: DiagnosisContext, row: int, jumped: Bools
    ) -> tuple[str | None, float]:
        jump = (
            np.where(jumped, context.jump[:, row], np.nan) if jumped.any() else context.jump[:, row]
        )
        if not np.isfinite(jump).any():
            return context.block_of(row), float("nan")
        block = int(np.nanargmax(jump))
        return context.run.names[block], float(jump[block])

    def _limit(self, most: float) -> float:
        """Return the threshold that applies to a jump."""
        return self.block if most > self.block else self.alone

    @classmethod
    def example(cls) -> RunSeries:
        """Return a run with a thousandfold spike of one block at one step."""
        run = healthy_run()
        norms = run.block_norm.copy()
        norms[1, 60] *= 1e3
        norm = run.norm.copy()
        norm[60] = float(np.sqrt((norms[:, 60].astype(float) ** 2).sum()))
        return with_rows(run, slice(None), norm=norm, block_norm=norms)


def _highest(norms: Norms, rows: Ints, first: int = 0) -> Norms:
    """Return the highest finite norm of each block before some rows; 0 if none is known.

    Args:
        norms: (B, S) norms.
        rows: (R,) positions, none of them the first.
        first: Earliest position to consider.
    """
    known = np.where(np.isfinite(norms[:, first:]), norms[:, first:], np.float32(0))
    highest: Norms = np.maximum.accumulate(known, axis=1)[:, np.maximum(rows - 1 - first, 0)]
    return np.where(rows > first, highest, np.float32(0))
