"""A block that receives no gradient while the rest of the model learns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from yolo_stability.core.findings import Finding
from yolo_stability.core.text import count
from yolo_stability.core.types import CauseName
from yolo_stability.diagnosis.base import Rule
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import healthy_run, with_rows
from yolo_stability.diagnosis.rolling import first_to_last
from yolo_stability.trace.arrays import RunSeries

__all__ = ["DeadBlock"]


@dataclass(frozen=True, kw_only=True)
class DeadBlock(Rule):
    """A part of the model that receives no gradient at all while the rest learns.

    Either its activations are dead (a ReLU that only puts out 0 passes nothing back), or the term
    of the loss that it serves never applies, as for a head without labels. It is a warning. Frozen
    blocks have no gradient by design and are not reported.

    Attributes:
        lasting: Consecutive steps with a gradient of exactly 0. A block that serves rare objects
            may miss some batches; in five recorded healthy runs no block ever had exactly 0.
    """

    sign: ClassVar[str] = "a block without gradient"
    supports: ClassVar[tuple[CauseName, ...]] = ("activation",)
    lasting: int = 32

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Check each block; report the first, and count the others."""
        run = context.run
        silent = (run.block_norm == 0) & (run.norm > 0)
        dead = []
        for block in np.flatnonzero(silent.any(axis=1)):
            span = first_to_last(silent[block], self.lasting)
            if span is not None:
                dead.append((span[0], span[1], run.names[block]))
        if not dead:
            return
        begin, _, name = min(dead, key=lambda found: found[0])
        others = f", as did {count(len(dead) - 1, 'other block')}" if len(dead) > 1 else ""
        yield self.found(
            "warning",
            f"{name} received a gradient of exactly 0 from step {context.step_at(begin)} "
            f"on{others}",
            context=context,
            rows=(begin + self.lasting - 1, max(end for _, end, _ in dead)),
            block=name,
            observed=float(len(dead)),
            threshold=0.0,
            remedy="act=silu or act=leaky_relu keeps units active; in a head, check the labels",
        )

    @classmethod
    def example(cls) -> RunSeries:
        """Return a run with a block of the neck without any gradient."""
        run = healthy_run()
        norms = run.block_norm.copy()
        norms[2] = 0
        return with_rows(run, slice(None), block_norm=norms)
