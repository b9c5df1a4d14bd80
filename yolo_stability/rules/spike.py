"""One step, or a few, far above the steps before; the run goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from yolo_stability.rule import Rule
from yolo_stability.scene import Scene
from yolo_stability.series import Bools, RunSeries
from yolo_stability.signals import number, ratio_of, times
from yolo_stability.specimen import healthy_run, with_rows
from yolo_stability.types import Finding

__all__ = ["Spike"]


@dataclass(frozen=True, kw_only=True)
class Spike(Rule):
    """A warning: once is nothing, often means that data or learning rate are at the edge.

    Attributes:
        total: Multiple of the running median of the total norm.
        block: Multiple of the largest of the last 8 norms of one block ...
        ever: ... and of the largest it has had: a level without objects wakes up when a batch brings one.
        share: A block below this share of the total norm does not matter.
        young: First steps that are left out: norms fall and waver there.
    """

    total: float = 50.0
    block: float = 100.0
    ever: float = 3.0
    share: float = 1e-3
    young: int = 8

    def look(self, scene: Scene) -> Iterator[Finding]:
        """Look at the whole model, then at each block."""
        whole = ratio_of(scene.run.norm, scene.usual_norm) > self.total
        jumped = self._jumped(scene)
        rows = np.flatnonzero(whole | jumped.any(axis=0))
        if not rows.size:
            return
        row = int(rows[0])
        block, most = self._where(scene, row, jumped[:, row])
        text = (
            f"{times(rows.size, 'step')} stood out, the first being step {scene.step_at(row)} with a gradient norm of "
            f"{number(scene.run.norm[row])}"
        )
        if block:
            text += f"; most in {block}, {number(most)} times its highest of the 8 steps before"
        yield self.found(
            "warning",
            text,
            scene=scene,
            rows=(row, int(rows[-1]) + 1),
            block=block,
            observed=most if block else float(ratio_of(scene.run.norm, scene.usual_norm)[row]),
            threshold=self.block if block else self.total,
            remedy="look at the images of that step; clip=norm:10 bounds what one step can do",
        )

    def _jumped(self, scene: Scene) -> Bools:
        """Return (B, S) where a block leapt."""
        norms = scene.run.block_norm
        with np.errstate(invalid="ignore"):
            jumped: Bools = (scene.jump > self.block) & (norms > self.share * scene.run.norm)
        highest = np.fmax.accumulate(np.where(np.isfinite(norms), norms, np.float32(np.nan)), axis=1)
        with np.errstate(invalid="ignore", over="ignore"):
            jumped[:, 1:] &= norms[:, 1:] > self.ever * highest[:, :-1]
        jumped[:, : self.young] = False
        return jumped

    def _where(self, scene: Scene, row: int, jumped: Bools) -> tuple[str | None, float]:
        jump = np.where(jumped, scene.jump[:, row], np.nan) if jumped.any() else scene.jump[:, row]
        if not np.isfinite(jump).any():
            return scene.block_of(row), float("nan")
        block = int(np.nanargmax(jump))
        return scene.run.names[block], float(jump[block])

    @classmethod
    def example(cls) -> RunSeries:
        """One step, one block, a thousandfold."""
        run = healthy_run()
        norms = run.block_norm.copy()
        norms[1, 60] *= 1e3
        norm = run.norm.copy()
        norm[60] = float(np.sqrt((norms[:, 60].astype(float) ** 2).sum()))
        return with_rows(run, slice(None), norm=norm, block_norm=norms)
