"""Steps dominated by noise: the gradient of one batch hardly predicts that of the next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from yolo_stability.core.findings import Finding
from yolo_stability.core.text import brief
from yolo_stability.core.types import CauseName
from yolo_stability.diagnosis.base import Rule
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import healthy_run, with_rows
from yolo_stability.diagnosis.noise_scale import epoch_length, excess_of, step_noise
from yolo_stability.diagnosis.rolling import swing
from yolo_stability.trace.arrays import RunSeries

__all__ = ["Noise"]


@dataclass(frozen=True, kw_only=True)
class Noise(Rule):
    """Loss or gradient norm that changes a lot from each step to the next, for a long time.

    Each step then follows its own batch more than the task, as with very small batches or a few
    unusual images. It is a warning. Where a step sums several batches, the gradient noise scale
    (McCandlish et al. 2018, arXiv 1812.06162) is known as well and reported as advice. It grows as
    the loss falls, in healthy runs too, so it makes no run unstable.

    A smaller last batch of an epoch is no noise: norms are compared per image where the loss is a
    sum over them.

    Attributes:
        norm: Median change of the gradient norm from one step to the next, as a share of its
            median. In 72 healthy runs of YOLOv8n it was at most 0.34.
        loss: The same for the loss. In 72 healthy runs of YOLOv8n it was at most 0.20.
        floor: Least level of the loss, as a share of the first loss: that of YOLO26 pose may fall
            to 0, of which any change would be a large share.
        window: Steps over which the medians are taken. So many even out single batches.
        young: Steps at the start that do not count, since norms fall and vary there.
        excess: Noise scale over the nominal batch size that is reported. Of five healthy runs that
            sampled enough steps the highest reached 2.7, with batches of single images.
        sampled: Steps with a sampled batch for one estimate of the noise scale, which is
            imprecise with fewer.
    """

    sign: ClassVar[str] = "steps dominated by gradient noise"
    supports: ClassVar[tuple[CauseName, ...]] = ("batch_noise", "data")
    norm: float = 0.42
    loss: float = 0.25
    floor: float = 0.3
    window: int = 48
    young: int = 16
    excess: float = 3.0
    sampled: int = 128

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Check the changes of norm and loss, then the noise scale."""
        yield from self._wavering(context)
        yield from self._noise_scale(context)

    def _wavering(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Check the changes of the norm, then those of the loss."""
        run = context.run
        if run.step.size < self.window:
            return
        least = np.nan_to_num(self.floor * context.first_loss)
        looks = (
            ("gradient norm", context.norm, self.norm, 0.0),
            ("loss", run.loss, self.loss, least),
        )
        for name, values, limit, floor in looks:
            share = swing(values, self.window, floor)
            with np.errstate(invalid="ignore"):
                rows = np.flatnonzero((share > limit) & (run.step >= self.young + self.window - 1))
            if not rows.size:
                continue
            row = int(rows[0])
            text = (
                f"in the {self.window} steps up to step {context.step_at(row)} the {name} changed "
                f"by {brief(share[row])} of its median from one step to the next"
            )
            yield self.found(
                "warning",
                text,
                context=context,
                rows=(row, int(rows[-1]) + 1),
                observed=float(share[row]),
                threshold=limit,
                remedy="a larger batch= or nominal batch nbs=; or unusual images",
            )
            return

    def _noise_scale(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Check the gradient noise scale where micro-batches were sampled."""
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
            f"up to step {context.step_at(first)} the gradient noise scale was at least "
            f"{brief(least)} times the nominal batch: most of each step is noise"
        )
        yield self.found(
            "info",
            text,
            context=context,
            rows=(first, last + 1),
            observed=least,
            threshold=self.excess,
            remedy="a larger nominal batch nbs=, or a lower learning rate",
        )

    @classmethod
    def example(cls) -> RunSeries:
        """Return a run whose norm alternates between 5 and 100."""
        return with_rows(healthy_run(), slice(None), norm=np.where(np.arange(96) % 2, 5.0, 100.0))
