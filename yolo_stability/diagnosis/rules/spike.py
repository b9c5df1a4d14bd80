"""One step, or a few, far above the steps before; the run goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from yolo_stability.core.findings import Finding
from yolo_stability.core.text import brief, count
from yolo_stability.diagnosis.base import Rule
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import healthy_run, with_rows
from yolo_stability.diagnosis.rolling import ratio_of
from yolo_stability.trace.arrays import Bools, Ints, Norms, RunSeries

__all__ = ["Spike"]


@dataclass(frozen=True, kw_only=True)
class Spike(Rule):
    """A warning: once is nothing, often means that data or learning rate are at the edge.

    Attributes:
        total: Multiple of the running median of the total norm.
        block: Multiple of the largest of the last 8 norms of one block, for one that passes the usual total norm ...
        ever: ... and this multiple of the largest it has had: a level without objects wakes up when a batch brings one.
        alone: A smaller multiple is enough where one block leaps ...
        apart: ... this many times as far as any other: neighbours share what a batch, a rate or a level that wakes up
            does. In 150 healthy runs no block that leapt was 8 times ahead of the next.
        share: A block below this share of the total norm does not matter.
        young: First steps that are left out: norms fall and waver there.
    """

    total: float = 50.0
    block: float = 100.0
    ever: float = 3.0
    alone: float = 15.0
    apart: float = 10.0
    share: float = 1e-3
    young: int = 8

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Look at the whole model, then at each block."""
        whole = ratio_of(context.run.norm, context.usual_norm) > self.total
        jumped = self._jumped(context)
        rows = np.flatnonzero(whole | jumped.any(axis=0))
        if not rows.size:
            return
        row = int(rows[0])
        block, most = self._where(context, row, jumped[:, row])
        text = (
            f"{count(rows.size, 'step')} stood out, the first being step {context.step_at(row)} "
            f"with a gradient norm of {brief(context.run.norm[row])}"
        )
        known = np.isfinite(most)  # not for 8 steps after a step without norms
        if block:
            text += f"; most in {block}"
        if block and known:
            text += f", {brief(most)} times its highest of the 8 steps before"
        yield self.found(
            "warning",
            text,
            context=context,
            rows=(row, int(rows[-1]) + 1),
            block=block,
            observed=most if known else float(ratio_of(context.run.norm, context.usual_norm)[row]),
            threshold=self._limit(most) if known else self.total,
            remedy="look at the images of that step; clip=norm:10 bounds what one step can do",
        )

    def _jumped(self, context: DiagnosisContext) -> Bools:
        """Return (B, S) where a block leapt: far, or alone."""
        norms, jump = context.run.block_norm, context.jump
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
            jumped[:, rows] = (far | alone) & (now > self.share * context.run.norm[rows])
        return jumped

    def _apart(self, leap: Norms) -> Bools:
        """Return where one of at least three blocks leapt far ahead of all others."""
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
        """Return the multiple that a leap was held against."""
        return self.block if most > self.block else self.alone

    @classmethod
    def example(cls) -> RunSeries:
        """One step, one block, a thousandfold."""
        run = healthy_run()
        norms = run.block_norm.copy()
        norms[1, 60] *= 1e3
        norm = run.norm.copy()
        norm[60] = float(np.sqrt((norms[:, 60].astype(float) ** 2).sum()))
        return with_rows(run, slice(None), norm=norm, block_norm=norms)


def _highest(norms: Norms, rows: Ints, first: int = 0) -> Norms:
    """Return the highest finite norm of each block before some rows, from one row on; 0 where none is known.

    Args:
        norms: (B, S) norms.
        rows: (R,) positions, none of them the first.
        first: Position to look back to.
    """
    known = np.where(np.isfinite(norms[:, first:]), norms[:, first:], np.float32(0))
    highest: Norms = np.maximum.accumulate(known, axis=1)[:, np.maximum(rows - 1 - first, 0)]
    return np.where(rows > first, highest, np.float32(0))
