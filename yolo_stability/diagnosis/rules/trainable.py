"""Weights that cannot change: layers that are frozen at random values, or get no gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from yolo_stability.core.findings import Finding
from yolo_stability.core.text import count, percent
from yolo_stability.core.types import CauseName, Severity
from yolo_stability.diagnosis.base import Rule
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import healthy_run
from yolo_stability.trace.arrays import Bools, Floats, RunSeries

__all__ = ["Trainable"]


@dataclass(frozen=True, kw_only=True)
class Trainable(Rule):
    """A model of which hardly any weights can change, or receive a gradient.

    Critical at the end of a run whose weights were new and could hardly change.

    With loaded weights a frozen model is a choice, and silent; trainable weights without a
    gradient are a warning then. So is anything while a run is in progress.

    Attributes:
        least: Share of the weights below which next to nothing is trainable. Normalization layers
            alone are about 1 %, the smallest head about 10 %.
        few: Share of the weights below which a new model is a warning: most of it stays random.
        steps: First steps in which weights must have had a gradient. One batch reaches all layers
            of a sound model.
    """

    sign: ClassVar[str] = "hardly anything that is trainable"
    supports: ClassVar[tuple[CauseName, ...]] = ("settings",)
    least: float = 0.02
    few: float = 0.5
    steps: int = 8

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Check what is frozen, then what gets no gradient."""
        found = self._frozen(context) or self._unreached(context)
        if found is not None:
            yield found

    def _frozen(self, context: DiagnosisContext) -> Finding | None:
        """Check for a new model most of which is frozen."""
        share = context.settings.get("trainable_share")
        if _loaded(context) is not False or not isinstance(share, int | float):
            return None
        if share >= self.few:
            return None
        critical = share < self.least and not context.live
        return self.found(
            "critical" if critical else "warning",
            f"only {percent(share)} of the weights are trainable and no weights were loaded: the "
            "others keep their random values",
            context=context,
            rows=(0, context.run.step.size),
            observed=float(share),
            threshold=self.least if share < self.least else self.few,
            remedy="load pretrained weights (model=yolo26n.pt), or train without freeze=",
        )

    def _unreached(self, context: DiagnosisContext) -> Finding | None:
        """Check for trainable blocks without a gradient from the first step on."""
        run, size = context.run, _sizes(context)
        if size is None or not context.begins or not size.any():
            return None
        usable = _explained(run) & np.isfinite(run.loss) & (run.loss != 0)
        reached = np.logical_or.accumulate(np.nan_to_num(run.block_norm) != 0, axis=1)
        share = np.where(reached, size[:, None], 0.0).sum(axis=0) / size.sum()
        # a loop of the user's own may train its parts in turns
        limit = self.few if context.settings.get("task") else self.least
        low: Bools = np.logical_and.accumulate(share < limit)
        if int((low & usable).sum()) < self.steps:
            return None
        end = int(low.sum())
        most = float(share[end - 1])
        who = f"only {percent(most)} of the trainable weights" if most else "no trainable weight"
        return self.found(
            self._severity(context, most, end),
            f"{who} received a gradient in the first {count(end, 'step')}",
            context=context,
            rows=(0, end),
            observed=most,
            threshold=limit,
            remedy=(
                "look for detach(), no_grad() or a loss that does not depend on the model's output"
            ),
        )

    def _severity(self, context: DiagnosisContext, share: float, end: int) -> Severity:
        lasting = end == context.run.step.size and not context.live
        new = _loaded(context) is False or context.header is None
        return "critical" if lasting and new and share < self.least else "warning"

    @classmethod
    def example(cls) -> RunSeries:
        """Return a run in which only the smallest block of `example_header` has a gradient."""
        run = healthy_run()
        norms = np.full_like(run.block_norm, np.nan)
        norms[-1] = run.block_norm[-1]
        return replace(run, block_norm=norms, norm=run.block_norm[-1].astype(np.float64))


def _loaded(context: DiagnosisContext) -> bool | None:
    """Return whether a run began with loaded weights; None if that is unknown.

    Older headers do not say so, but name the model.
    """
    settings = context.settings
    loaded, model = settings.get("loaded"), str(settings.get("model") or "")
    if isinstance(loaded, bool):
        return loaded
    if isinstance(settings.get("pretrained"), str) or model.endswith(".pt"):
        return True
    return False if model.endswith((".yaml", ".yml")) else None


def _explained(run: RunSeries) -> Bools:
    """Return the steps whose total norm the blocks account for: those in which all were recorded.

    Half of it is enough, since norms of blocks are kept with less precision.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        largest = np.nan_to_num(run.block_norm.astype(np.float64)).max(axis=0, initial=0.0)
        total = largest * np.sqrt(max(len(run.names), 1))
        explained: Bools = np.isfinite(run.norm) & (total >= run.norm / 2)
    return explained


def _sizes(context: DiagnosisContext) -> Floats | None:
    """Return the trainable weights of each block of the run; None without a header that knows.

    A block of which only a part is frozen counts as a whole.
    """
    header = context.header
    if header is None or not header.blocks:
        return None
    frozen = set(context.settings.get("frozen") or ())
    known = {b.name: 0 if frozen.issuperset(b.param_names) else b.numel for b in header.blocks}
    return np.array([known.get(name, 0) for name in context.run.names], dtype=np.float64)
