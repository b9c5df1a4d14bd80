"""Restarted epochs, rescues and restored weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from yolo_stability.core.findings import Finding
from yolo_stability.core.text import count
from yolo_stability.diagnosis.base import USUAL_RATE, Rule
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import event, healthy_run
from yolo_stability.trace.arrays import RunSeries

__all__ = ["Recoveries"]

_KINDS = {
    "nan_recovery": (
        "Ultralytics rolled back to its last checkpoint {}",
        "guard=skip skips a bad step instead",
    ),
    "oom_restart": (
        "the epoch restarted with a smaller batch after running out of memory {}",
        "a smaller batch=",
    ),
    "rescue": (
        "a rescue changed the run during training {}",
        "start the next run with the remedy that helped; the events of this run list it",
    ),
    "rollback": ("an earlier state of the weights was restored {}", USUAL_RATE),
}


@dataclass(frozen=True, kw_only=True)
class Recoveries(Rule):
    """Restarts and rollbacks: something restored earlier weights, or began an epoch again.

    That is Ultralytics after a NaN or when memory ran out, a rescue of this package, or a program
    of yours. The run continued, so it is a warning.

    Attributes:
        many: Recoveries of a kind from which on it is critical, for those that nobody planned: a
            NaN, or restored weights. Ultralytics itself gives up after three.
    """

    sign: ClassVar[str] = "a recovery"
    many: int = 3

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Check the events."""
        for kind, (text, remedy) in _KINDS.items():
            steps = [event.step for event in context.run.events if event.kind == kind]
            if not steps:
                continue
            many = len(steps) >= self.many and kind in {"nan_recovery", "rollback"}
            known = steps[self.many - 1] if many else steps[0]
            row = min(int(np.searchsorted(context.run.step, known)), context.run.step.size - 1)
            yield self.found(
                "critical" if many else "warning",
                f"{text.format(count(len(steps), 'time'))}, first at step {steps[0]}",
                context=context,
                rows=(row, row + 1),
                observed=float(len(steps)),
                threshold=float(self.many),
                remedy=remedy,
            )

    @classmethod
    def example(cls) -> RunSeries:
        """Return a run with one recovery by Ultralytics."""
        return replace(healthy_run(), events=(event("nan_recovery", 40, {"epoch": 2}),))
