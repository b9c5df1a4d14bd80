"""A learning rate that grows by more than warm-up and schedule explain."""

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
from yolo_stability.diagnosis.rate_leaps import Leap, find_leaps
from yolo_stability.trace.arrays import RunSeries

__all__ = ["RateLeap"]


@dataclass(frozen=True, kw_only=True)
class RateLeap(Rule):
    """A learning rate that suddenly grows, which neither warm-up nor schedule explains.

    Critical if the rate of a parameter group leaps to a value it never had; else a warning.

    Each group is compared with its own previous step, since the biases start the warm-up at a rate
    twenty times that of the other groups. Warm-up, schedule, resumes and rescues are accounted for.
    A schedule with restarts returns to a rate that the run has already tolerated: a warning, and
    nothing in a plain loop, whose schedule is its own.

    Attributes:
        warning: Growth beyond the expected rate that causes a warning; the largest step of a
            healthy schedule is a factor of 2, in the second step of a warm-up.
        critical: Growth that is critical; a tenfold rate makes most runs under SGD fail.
        lasting: Maximum number of steps that a finding covers; a leap is an event, and other rules
            report its consequences.
    """

    sign: ClassVar[str] = "a learning rate that leaps"
    supports: ClassVar[tuple[CauseName, ...]] = ("learning_rate",)
    warning: float = 3.0
    critical: float = 10.0
    lasting: int = 8

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Check each group of each step; report the first leap of the highest severity."""
        leaps = [
            leap
            for leap in find_leaps(context, self.warning)
            if not (leap.plain and leap.known >= set(leap.factors))
        ]
        first = next((leap for leap in leaps if self._severity(leap) == "critical"), None)
        leap = first or next(iter(leaps), None)
        if leap is None:
            return
        severity = self._severity(leap)
        remedy = "look for a callback or scheduler that sets the learning rate at this step"
        if not context.header or context.header.requested.get("rescue") != "auto":
            remedy += "; rescue=auto rolls back and restores the rate"
        yield self.found(
            severity,
            self._text(context, leap),
            context=context,
            rows=(leap.row, self._end(context, leap)),
            observed=leap.factor,
            threshold=self.critical if severity == "critical" else self.warning,
            remedy=remedy,
        )

    def _end(self, context: DiagnosisContext, leap: Leap) -> int:
        """Return the position at which the rates are back, at most `lasting` after the leap."""
        rows = slice(leap.row, min(leap.row + self.lasting, context.run.step.size))
        high = np.zeros(rows.stop - rows.start, dtype=bool)
        for name in leap.factors:
            rates = context.run.rates.get(name, context.run.lr)[rows]
            high |= rates > rates[0] / self.warning
        back = np.flatnonzero(~high[1:])
        return int(rows.start + 1 + back[0]) if back.size else rows.stop

    def _severity(self, leap: Leap) -> Severity:
        new = [factor for name, factor in leap.factors.items() if name not in leap.known]
        return "critical" if max(new, default=0.0) >= self.critical else "warning"

    def _text(self, context: DiagnosisContext, leap: Leap) -> str:
        names = list(leap.factors)
        whose = (
            "every group" if len(names) == max(len(context.run.rates), 1) else " and ".join(names)
        )
        text = (
            f"the learning rate of {whose} grew by a factor of {brief(leap.factor)} at step "
            f"{context.step_at(leap.row)}"
        )
        if leap.known >= set(names):
            return f"{text}, back to a value it had before, as in a schedule with restarts"
        return f"{text}, which neither warm-up nor schedule explains"

    @classmethod
    def example(cls) -> RunSeries:
        """Return a run whose rates are 500 times as high from step 40 on."""
        run = healthy_run()
        rate = np.where(run.step < 40, 0.005, 2.5)
        return replace(run, lr=rate, rates={"weight": rate, "bias": rate.copy()})
