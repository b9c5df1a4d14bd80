"""Steps dominated by noise: the gradient of one batch says little about that of the next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from yolo_stability.rule import Rule
from yolo_stability.scene import Scene
from yolo_stability.series import RunSeries
from yolo_stability.signals import first_span, number, ratio_of, rolling_median
from yolo_stability.specimen import healthy_run, with_rows
from yolo_stability.types import Finding

__all__ = ["Noise"]


@dataclass(frozen=True, kw_only=True)
class Noise(Rule):
    """A warning where the norm wavers from step to step by more than itself, for long.

    It is no gradient noise scale: that needs the gradients of micro-batches.

    Attributes:
        swing: Median change of the norm from one step to the next, as a share of its median.
        window: Steps over which the medians are taken.
        young: First steps that are left out.
    """

    swing: float = 0.75
    window: int = 32
    young: int = 16

    def look(self, scene: Scene) -> Iterator[Finding]:
        """Look at the changes of the norm."""
        norm = scene.run.norm
        if norm.size < self.young + self.window:
            return
        with np.errstate(invalid="ignore", over="ignore"):
            change = np.abs(np.diff(norm, prepend=np.nan))
        share = ratio_of(rolling_median(change, self.window, minimum=self.window), rolling_median(norm, self.window))
        with np.errstate(invalid="ignore"):
            high = share > self.swing
        high[: self.young + self.window] = False
        span = first_span(high, 1)
        if span is None:
            return
        text = (
            f"up to step {scene.step_at(span[0])} the gradient norm changed by {number(share[span[0]])} of itself "
            "from one step to the next"
        )
        yield self.found(
            "warning",
            text,
            scene=scene,
            rows=(span[0], span[1]),
            observed=float(share[span[0]]),
            threshold=self.swing,
            remedy="a larger batch=, or a larger nominal batch nbs=, which sums gradients up",
        )

    @classmethod
    def example(cls) -> RunSeries:
        """A norm of 5 and 100 in turn."""
        return with_rows(healthy_run(), slice(None), norm=np.where(np.arange(96) % 2, 5.0, 100.0))
