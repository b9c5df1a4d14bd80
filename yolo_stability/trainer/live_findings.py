"""Findings during training: queries the policy, emits events, and keeps the critical finding."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from yolo_stability.core.findings import Finding
from yolo_stability.core.types import Event, StepRecord
from yolo_stability.trainer.policy import Policy

__all__ = ["LiveFindings"]

_EVENT_FIELDS = (
    "rule",
    "severity",
    "message",
    "first_step",
    "last_step",
    "observed",
    "threshold",
    "remedy",
)


class LiveFindings:
    """Passes one run's records to its policy and reports the findings.

    If the policy raises, the rules are disabled for the rest of the run and training continues.

    Args:
        policy: Evaluates the run.
        emit: Receives each event.
        warn: Receives each warning, one sentence.

    Attributes:
        policy: The policy; None once it has failed.
        critical: Text of the first critical finding; empty if there is none.
    """

    def __init__(
        self, policy: Policy, emit: Callable[[Event], None], warn: Callable[[str], None]
    ) -> None:
        self.policy: Policy | None = policy
        self.critical = ""
        self._emit, self._warn = emit, warn
        self._last: StepRecord | None = None

    @property
    def unhealthy_step(self) -> int:
        """Last step affected by a critical finding about the run's state; -1 if none."""
        return self.policy.unhealthy_step if self.policy else -1

    def event(self, event: Event) -> None:
        """Forward an event to the policy."""
        if self.policy:
            self.policy.event(event)

    def observe(self, record: StepRecord) -> None:
        """Pass a step to the policy and report its findings."""
        self._last = record
        self._report(lambda policy: policy.observe(record))

    def ask(self) -> None:
        """Evaluate the latest steps now instead of at the policy's next regular evaluation."""
        if self._last is not None:
            self._report(lambda policy: policy.ask())

    def _report(self, query: Callable[[Policy], Sequence[Finding]]) -> None:
        """Run a query on the policy and emit its new findings."""
        if self.policy is None or self._last is None:
            return
        try:
            found = query(self.policy)
        except Exception as error:
            self.policy = None
            self._warn(
                "the rules failed; rules and rescue are disabled for this run: "
                f"{type(error).__name__}: {error}"
            )
            return
        attempt, step = self._last.attempt, self._last.step
        for finding in found:
            data = {key: getattr(finding, key) for key in _EVENT_FIELDS}
            self._emit(
                Event(attempt=attempt, step=step, kind="finding", block=finding.block, data=data)
            )
            if finding.severity == "critical":
                self.critical = self.critical or f"{finding.rule}: {finding.message}"
