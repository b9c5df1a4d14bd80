"""A loss that is differentiated but is far from the sum of its recorded parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from yolo_stability.core.findings import Finding
from yolo_stability.core.text import brief
from yolo_stability.core.types import CauseName, Severity
from yolo_stability.diagnosis.base import Rule
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import healthy_run
from yolo_stability.diagnosis.rolling import spans
from yolo_stability.trace.arrays import Bools, Floats, Ints, RunSeries

__all__ = ["LossScale"]

_SUMMED = frozenset({"detect", "segment", "pose", "obb"})
_PER_IMAGE = 2  # schema from which the loss of such tasks is recorded per image
_LAYERS = 12.0  # terms of each part that RT-DETR sums and does not list


@dataclass(frozen=True, kw_only=True)
class LossScale(Rule):
    """A loss that is far from the sum of its recorded parts, or 0 although they are not.

    Warning of a criterion that scales its loss; critical at the end if it returns 0.

    The recorded parts contain their gains, so that Ultralytics' loss is their sum, times the batch
    size (and the number of processes) unless it is recorded per image. Models with two heads list
    the parts of one of them, RT-DETR those of its last decoder layer.

    Attributes:
        steps: Consecutive steps that must be far off.
        apart: Largest healthy ratio between the loss and its expected value, in either direction.
            Two heads differ by up to a half.
        loosely: The same for models that list the parts of one head or layer only.
        cancels: Share of their absolute sum below which parts of different sign cancel each other,
            as the log-likelihood of YOLO26 pose may do: such steps do not count.
    """

    sign: ClassVar[str] = "a loss far from the sum of its parts"
    supports: ClassVar[tuple[CauseName, ...]] = ("settings",)
    steps: int = 8
    apart: float = 3.0
    loosely: float = 6.0
    cancels: float = 0.5

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Compare the loss with its parts in all steps in which they are known."""
        parts = _parts(context)
        if parts is None:
            return
        rows = np.flatnonzero(self._usable(context, parts))
        ratio = context.run.loss[rows] / parts[rows].sum(axis=1)
        yield from self._far(context, rows, ratio, self._allowed(context))

    def _usable(self, context: DiagnosisContext, parts: Floats) -> Bools:
        """Return the steps whose parts and loss are finite and whose parts do not cancel out."""
        with np.errstate(invalid="ignore", over="ignore"):
            total, size = parts.sum(axis=1), np.abs(parts).sum(axis=1)
            known = np.isfinite(size) & np.isfinite(context.run.loss) & (size > 0)
            usable: Bools = known & (np.abs(total) >= self.cancels * size)
        return usable

    def _allowed(self, context: DiagnosisContext) -> tuple[tuple[float, ...], float]:
        """Return the expected ratios, none if they are unknown, with the tolerated factor."""
        run, settings = context.run, context.settings
        batch = settings.get("batch")
        if "giou_loss" in run.losses:
            return (_LAYERS,), self.loosely
        if not settings.get("task") or not isinstance(batch, int | float) or batch <= 0:
            return (), self.apart
        loosely = any("one2one" in name for name in run.names)
        tolerance = self.loosely if loosely else self.apart
        schema = 1 if context.header is None else context.header.schema_version
        if schema >= _PER_IMAGE and settings["task"] in _SUMMED:
            return (1.0, 1 / batch), tolerance  # a mean over the batch is a choice
        world = settings.get("world_size")
        world = world if isinstance(world, int) and world > 0 else 1
        return (1.0, float(world), float(batch), float(batch * world)), tolerance

    def _far(
        self,
        context: DiagnosisContext,
        rows: Ints,
        ratio: Floats,
        allowed: tuple[tuple[float, ...], float],
    ) -> Iterator[Finding]:
        expected, tolerance = allowed
        far = ratio == 0
        if expected:
            near = [(ratio * tolerance >= e) & (ratio <= e * tolerance) for e in expected]
            far = ~np.any(near, axis=0)
        span = next(spans(far, self.steps), None)
        if span is None:
            return
        begin, end = span
        seen = float(ratio[begin])
        what = "0" if seen == 0 else f"{brief(seen)} times the sum of its parts"
        lasting = end == rows.size and not context.live
        severity: Severity = "critical" if seen == 0 and lasting else "warning"
        yield self.found(
            severity,
            f"from step {context.step_at(int(rows[begin]))} on the loss that is differentiated "
            f"was {what}{_usual(expected)}",
            context=context,
            rows=(int(rows[begin]), int(rows[end - 1]) + 1),
            observed=seen,
            threshold=max(expected, default=0.0) * tolerance,
            remedy=(
                "let the criterion return the sum of the parts that it lists times the batch size; "
                "box=, cls= and dfl= weigh them, and lr0= sets the rate"
            ),
        )

    @classmethod
    def example(cls) -> RunSeries:
        """Return a run whose loss is 0 while its parts are not."""
        run = healthy_run()
        losses = {"box_loss": run.loss / 2, "cls_loss": run.loss / 2}
        return replace(run, loss=np.zeros(run.step.size), losses=losses)


def _parts(context: DiagnosisContext) -> Floats | None:
    """Return the (S, P) recorded parts; None without any that Ultralytics sums.

    Its own names end with `loss`; criteria for prompts list others, of which they use one.
    """
    losses = context.run.losses
    if context.stock or not losses or not all(name.endswith("loss") for name in losses):
        return None
    header = context.header
    if header is not None and not context.settings.get("task"):
        return None  # a loop of the user's own, whose parts may have weights
    return np.stack(list(losses.values()), axis=1)


def _usual(expected: tuple[float, ...]) -> str:
    return (
        f"; {' or '.join(brief(e) for e in dict.fromkeys(expected))} is usual" if expected else ""
    )
