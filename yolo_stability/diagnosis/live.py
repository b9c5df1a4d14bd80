"""Live rules: evaluated synchronously on the last 512 steps, so that timing has no effect.

A rule's result on a window equals its result on the trace up to that step, except for older
history. A window that includes the run's first steps knows its start; later windows rely on their
own history.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np

from yolo_stability.core.actions import Action, Ending
from yolo_stability.core.findings import Finding
from yolo_stability.core.types import BlockSpec, Event, RunHeader, StepRecord
from yolo_stability.diagnosis.base import Rule
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.diagnose import find_all
from yolo_stability.diagnosis.live_rows import LiveRows
from yolo_stability.diagnosis.rules import RULES
from yolo_stability.trace.arrays import SeriesEvent

__all__ = ["LiveRules"]

_WINDOW = 512
_EVERY = 16
_YOUNG = 64
_BUILT_IN = {"vanishing"}
_LEAPT = 2.5  # a rate that grows faster than any warm-up after its second step: the same
_OPTIONAL = ("images", "objects", "input_min", "input_max", "input_mean", "input_std")
_REPLACED = 1.0  # an update as large as the weights: evaluate immediately
_FORERUNNER = "update_ratio"  # the first finding in every run that failed after a finite step
_RANK = {"info": 0, "warning": 1, "critical": 2}


class LiveRules:
    """Follows a run and reports each finding once, and again if its severity increases.

    Args:
        every: Interval of evaluation in steps, a quarter of it in the first 64 steps; a step that
            is not finite, replaces the weights or takes a rate that has leapt triggers an
            evaluation immediately.
        window: Maximum number of steps that the rules see.
    """

    def __init__(self, every: int = _EVERY, window: int = _WINDOW) -> None:
        self._every, self._window = every, window
        self._events: deque[SeriesEvent] = deque(maxlen=64)
        self._reported: dict[str, int] = {}
        self._rules: Sequence[Rule] = [rule for rule in RULES.make_all() if rule.unsettles]
        self._rows: LiveRows | None = None
        self._header: RunHeader | None = None
        self._since = self._seen = 0
        self._unhealthy = self._doubtful = -1
        self.found: tuple[Finding, ...] = ()

    @property
    def unhealthy_step(self) -> int:
        """Last step affected by a critical finding about the run's state; -1 without any.

        Vanishing does not count: a badly built network is equally bad at every step.
        """
        return self._unhealthy

    @property
    def doubtful_step(self) -> int:
        """Last step with a finding about large updates, or a critical one; -1 without any."""
        return max(self._unhealthy, self._doubtful)

    @property
    def context(self) -> DiagnosisContext | None:
        """The window and the run's settings for the rules; None before the first step."""
        if self._rows is None or not self._seen:
            return None
        return DiagnosisContext(
            self._rows.series(tuple(self._events)),
            header=self._header,
            live=True,
            restarted=self._rows.restarted,
        )

    def open(
        self, blocks: Sequence[BlockSpec], header: RunHeader | None = None, *, summed: bool = False
    ) -> None:
        """Start a run, or a further session of one.

        Args:
            blocks: Blocks that the records will contain.
            header: Header of the run, for the ranking of causes.
            summed: Whether the loss that is differentiated is a sum over the images of a batch.
        """
        self._header = header
        names, roles = tuple(block.name for block in blocks), tuple(block.role for block in blocks)
        self._rows = LiveRows(names, roles, self._window, summed=summed)
        self._events.clear()
        self._reported.clear()
        self._since = self._seen = 0

    def event(self, event: Event) -> None:
        """Process an event."""
        if event.kind not in {"notice", "finding"}:
            self._events.append(
                SeriesEvent(kind=event.kind, step=event.step, block=event.block, data=event.data)
            )

    def observe(self, record: StepRecord) -> tuple[Finding, ...]:
        """Process a step; return new findings.

        Args:
            record: The complete step.
        """
        if self._rows is None:
            return ()
        self._rows.append(record)
        self._since, self._seen = self._since + 1, self._seen + 1
        due = max(1, self._every // 4) if self._seen <= _YOUNG else self._every
        alarm = (
            record.skipped == "guard"
            or not np.isfinite(record.loss)
            or self._rows.last_update > _REPLACED
            or self._rows.rate_growth > _LEAPT
        )
        return self.ask() if self._since >= due or alarm else ()

    def ask(self) -> tuple[Finding, ...]:
        """Evaluate the rules now; return new findings."""
        if self._rows is None or not self._seen:
            return ()
        self._since = 0
        context = self.context
        assert context is not None
        findings = find_all(context, self._rules)
        self.found = findings
        last = [
            f.last_step for f in findings if f.severity == "critical" and f.rule not in _BUILT_IN
        ]
        self._unhealthy = max(self._unhealthy, *(step for step in last if step is not None), -1)
        doubts = [f.last_step for f in findings if f.rule == _FORERUNNER]
        self._doubtful = max(self._doubtful, *(step for step in doubts if step is not None), -1)
        return tuple(self._new(findings))

    def undone(self, restored: int) -> None:
        """Discard undone steps: a state was restored, and later steps no longer count.

        Args:
            restored: Number of steps that had been taken at that state.
        """
        if self._rows is not None:
            self._rows.cut(restored)
        self._events.clear()
        self._reported.clear()
        self.found = ()
        self._since = 0

    def decide(self) -> Action | Ending | None:
        """Return the action to take; these rules only report."""
        return None

    def _new(self, findings: Sequence[Finding]) -> Iterator[Finding]:
        for finding in findings:
            rank = _RANK[finding.severity]
            if rank > self._reported.get(finding.rule, 0):
                self._reported[finding.rule] = rank
                yield finding
