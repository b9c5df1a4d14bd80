"""The trainer started an epoch over, or the guard had to put weights back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from yolo_stability.core.findings import Finding
from yolo_stability.core.text import count
from yolo_stability.diagnosis.base import USUAL_RATE, Rule
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import event, healthy_run
from yolo_stability.trace.arrays import RunSeries

__all__ = ["Recoveries"]

_TOLD = {
    "nan_recovery": (
        "Ultralytics went back to its last checkpoint {}",
        "guard=skip leaves a bad step out instead",
    ),
    "oom_restart": (
        "the epoch began again with a smaller batch after running out of memory {}",
        "a smaller batch=",
    ),
    "rescue": (
        "the run was mended while it went on {}",
        "begin the next run with what helped: its events say what",
    ),
    "rollback": ("an earlier state of the weights was put back {}", USUAL_RATE),
}


@dataclass(frozen=True, kw_only=True)
class Recoveries(Rule):
    """Warnings, since the run went on; critical from the third of a kind on, where that was not the plan.

    Attributes:
        many: Recoveries of a kind at which it is no accident.
    """

    many: int = 3

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Look at the events."""
        for kind, (text, remedy) in _TOLD.items():
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
        """Ultralytics' own recovery, once."""
        return replace(healthy_run(), events=(event("nan_recovery", 40, {"epoch": 2}),))
