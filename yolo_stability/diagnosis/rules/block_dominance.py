"""One block that holds nearly all of the gradient, so that the clip starves the others."""

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
from yolo_stability.diagnosis.rolling import first_span
from yolo_stability.trace.arrays import Bools, Floats, Ints, RunSeries, median_of

__all__ = ["BlockDominance"]

_FEWEST = 3  # of two blocks one holds most by chance


@dataclass(frozen=True, kw_only=True)
class BlockDominance(Rule):
    """One block that holds nearly all of the gradient, so that the clip starves all others.

    A warning if one block's gradient decides the clip; critical if the others hardly move.

    A clip by the total norm scales all blocks alike. Where one block holds nearly all of the norm,
    the others are scaled down although they are small. Adaptive clipping scales each unit alone, so
    that no block can starve another; Adam-type optimizers undo a constant factor, which is why only
    updates that are too small are critical. A huge gradient of one block in the first steps is a
    warning of its own, also without a clip.

    Attributes:
        share: Share of the squared norm that dominates; healthy blocks of YOLO26n hold up to 0.92,
            those of a model of nine blocks 0.985 at single steps, and in the first steps, also of
            pose with its huge norms, 0.6.
        starved: Factor by which the clip reduces the others beyond what their own norm requires.
        lasting: Consecutive steps that are a warning.
        first: Number of first steps in which one dominated step with a huge norm is a warning: the
            weights that the run began with are to blame, such as a block of zeros.
        huge: That norm; the first norms of healthy pose models reach 5e5, in no block above all.
        samples: Sampled steps needed to know that the others hardly move.
        still: Update ratio below which a block hardly moves; the smallest healthy ones, of a
            fine-tune at its final rate, are above 1e-6.
        apart: The dominating block moves at least so many times as much as any other.
    """

    sign: ClassVar[str] = "one block that dominates the gradient"
    supports: ClassVar[tuple[CauseName, ...]] = ("initialization",)
    share: float = 0.995
    starved: float = 0.05
    lasting: int = 32
    first: int = 4
    huge: float = 1e6
    samples: int = 4
    still: float = 1e-7
    apart: float = 100.0

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Check the first steps, then for the first long span in which one block dominates."""
        run = context.run
        clip = str(context.header.effective.get("clip") or "") if context.header else ""
        if len(run.names) < _FEWEST or clip.startswith("agc"):
            return
        block, share, rest = _dominating(run)
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            needed = np.minimum(1.0, run.clip * run.norm / rest)  # by the others' own norm
            starving = (run.clip < 1) & (run.clip < self.starved * needed)
            huge = run.norm > self.huge
        usual = (share > self.share) & ~run.scaler & ~run.guard
        spans_found = [
            (usual & huge, 1, self.first if context.begins else 0),
            (usual & starving, self.lasting, run.step.size),
        ]
        for flags, length, rows in spans_found:
            span = _first_span(flags[:rows], block[:rows], length)
            if span is not None:
                yield self._report(context, int(block[span[0]]), share, rest, span, length)
                return

    def _report(
        self,
        context: DiagnosisContext,
        block: int,
        share: Floats,
        rest: Floats,
        span: tuple[int, int],
        length: int,
    ) -> Finding:
        """Return the finding about a span that one block dominates."""
        run = context.run
        held = float(np.min(share[span[0] : span[1]]))
        others = float(median_of(rest[span[0] : span[1]] / run.norm[span[0] : span[1]]))
        still = self._still(run, block, span)
        step = context.step_at(span[0])
        text = f"{run.names[block]} held {100 * held:.4g} % of the squared gradient norm"
        if length == 1:
            text = f"{text} of {brief(float(run.norm[span[0]]))} at step {step}"
        else:
            text = (
                f"{text} from step {step} on, so that all other blocks together had "
                f"{brief(others)} of the norm that is clipped"
            )
        return self.found(
            "critical" if still else "warning",
            f"{text} and hardly moved" if still else text,
            context=context,
            rows=(span[0] + length - 1, span[1]),
            block=run.names[block],
            observed=held,
            threshold=self.share,
            remedy=f"check the weights and the loss of {run.names[block]}, or use clip=agc:0.01",
        )

    def _still(self, run: RunSeries, block: int, span: tuple[int, int]) -> bool:
        """Return whether the other blocks hardly moved in the sampled steps of a span."""
        inside = (run.sampled >= span[0]) & (run.sampled < span[1])
        inside[inside] = np.nan_to_num(run.lr[run.sampled[inside]]) > 0
        ratios = run.update_ratio[:, inside]
        others = np.delete(ratios, block, axis=0)
        known = np.isfinite(others).all(axis=0) & np.isfinite(ratios[block])
        if known.sum() < self.samples:
            return False
        most = others[:, known].max(axis=0)
        return bool((most < self.still).all() and (ratios[block, known] > self.apart * most).all())

    @classmethod
    def example(cls) -> RunSeries:
        """Return a run in which one block's gradient is 1e4 times as large as all others."""
        run = healthy_run()
        norms = run.block_norm.copy()
        norms[3, 20:] *= np.float32(1e4)
        norm = np.sqrt((norms.astype(np.float64) ** 2).sum(axis=0))
        return replace(run, block_norm=norms, norm=norm, clip=np.minimum(1.0, 10 / norm))


def _dominating(run: RunSeries) -> tuple[Ints, Floats, Floats]:
    """Return the block with the largest norm at each step, its share, and the others' norm.

    The share is of the squared norm; NaN where a norm is unknown or not finite.
    """
    norms = run.block_norm.astype(np.float64)
    known = np.where(np.isfinite(norms), norms, 0.0)
    block = known.argmax(axis=0).astype(np.int64)
    top = known[block, np.arange(run.step.size)]
    # relative to the largest norm, since squares of norms may overflow
    relative = np.divide(known, top, out=np.zeros_like(known), where=top > 0)
    others = (relative**2).sum(axis=0) - (top > 0)
    finite = (np.isfinite(norms) | np.isnan(norms)).all(axis=0) & (top > 0) & np.isfinite(run.norm)
    share = np.where(finite, 1 / (1 + others), np.nan)
    return block, share, np.where(finite, top * np.sqrt(np.maximum(others, 0)), np.nan)


def _first_span(flags: Bools, block: Ints, length: int) -> tuple[int, int] | None:
    """Return the first span of flags, long enough, in which the same block dominates."""
    if flags.size < length:
        return None
    change = np.flatnonzero(np.diff(block)) + 1
    for first, end in zip([0, *change], [*change, flags.size], strict=True):
        if end - first >= length:
            span = first_span(flags[first:end], length)
            if span is not None:
                return first + span[0], first + span[1]
    return None
