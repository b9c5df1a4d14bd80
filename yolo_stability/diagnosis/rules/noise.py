"""Steps dominated by noise: the gradient of one batch says little about that of the next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from yolo_stability.core.findings import Finding
from yolo_stability.core.text import brief
from yolo_stability.diagnosis.base import Rule
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import healthy_run, with_rows
from yolo_stability.diagnosis.noise_scale import epoch_length, excess_of, step_noise
from yolo_stability.diagnosis.rolling import swing
from yolo_stability.trace.arrays import RunSeries

__all__ = ["Noise"]


@dataclass(frozen=True, kw_only=True)
class Noise(Rule):
    """A warning where the norm, or the loss, wavers from step to step by a large part of itself, for long.

    That is no gradient noise scale, which needs the gradients of micro-batches. Where steps sum several, it is told
    as advice where it exceeds the nominal batch beyond doubt: it grows as the loss falls, in healthy runs too
    (McCandlish et al. 2018, arXiv 1812.06162), so that it makes no run unstable. In 72 healthy runs of YOLOv8n the
    norm wavered by at most 0.34 of itself, the loss by 0.20.

    Attributes:
        norm: Median change of the norm from one step to the next, as a share of its median.
        loss: The same of the loss.
        floor: Share of the first loss that its median counts as, at least: the loss of YOLO26 pose may fall to nothing.
        window: Steps over which the medians are taken.
        young: First steps that are left out.
        excess: Gradient noise scale over the nominal batch, at the low end of its uncertainty. Of five healthy runs
            with so many sampled steps the highest, 2.7, was one whose micro-batches are single images.
        sampled: Steps with a known micro-batch over which it is taken.
    """

    norm: float = 0.42
    loss: float = 0.25
    floor: float = 0.3
    window: int = 48
    young: int = 16
    excess: float = 3.0
    sampled: int = 128

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Look at the changes of norm and loss, then at the noise scale."""
        yield from self._wavering(context)
        yield from self._noise_scale(context)

    def _wavering(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Look at the changes of the norm, then at those of the loss."""
        run = context.run
        if run.step.size < self.window:
            return
        least = np.nan_to_num(self.floor * context.first_loss)
        looks = ("gradient norm", run.norm, self.norm, 0.0), ("loss", run.loss, self.loss, least)
        for name, values, limit, floor in looks:
            share = swing(values, self.window, floor)
            with np.errstate(invalid="ignore"):
                rows = np.flatnonzero((share > limit) & (run.step >= self.young + self.window - 1))
            if not rows.size:
                continue
            row = int(rows[0])
            text = (
                f"in the {self.window} steps up to step {context.step_at(row)} the {name} changed by "
                f"{brief(share[row])} of itself from one step to the next"
            )
            yield self.found(
                "warning",
                text,
                context=context,
                rows=(row, int(rows[-1]) + 1),
                observed=float(share[row]),
                threshold=limit,
                remedy="a larger batch=, or a larger nominal batch nbs=, which sums gradients up; or odd images",
            )
            return

    def _noise_scale(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Look at the gradient noise scale, where micro-batches were sampled."""
        run = context.run
        micro = np.where(run.step >= self.young, run.micro_norm, np.nan)
        noise = step_noise(micro, run.norm, run.accumulate, epoch_length(run))
        found = excess_of(noise, self.sampled, hop=8, errors=3.0)
        with np.errstate(invalid="ignore"):
            high = np.flatnonzero(found.least > self.excess)
        if not high.size:
            return
        first, last = int(found.rows[high[0]]), int(found.rows[high[-1]])
        least = float(found.least[high[0]])
        text = (
            f"up to step {context.step_at(first)} the gradient noise scale was at least {brief(least)} times "
            "the nominal batch: most of each step is noise"
        )
        yield self.found(
            "info",
            text,
            context=context,
            rows=(first, last + 1),
            observed=least,
            threshold=self.excess,
            remedy="a larger nominal batch nbs=, which sums more gradients up, or a lower learning rate",
        )

    @classmethod
    def example(cls) -> RunSeries:
        """A norm of 5 and 100 in turn."""
        return with_rows(healthy_run(), slice(None), norm=np.where(np.arange(96) % 2, 5.0, 100.0))
