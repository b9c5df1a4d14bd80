"""What is found while a run trains: asked of the policy, told as events, remembered for those who act on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from yolo_stability.core.findings import Finding
from yolo_stability.core.types import Event, StepRecord
from yolo_stability.trainer.policy import Policy

__all__ = ["LiveFindings"]

_TOLD = (
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
    """Stands between one run and its policy; a policy that fails costs the rules, never the run.

    Args:
        policy: What judges the run.
        emit: Takes an event.
        warn: Takes a warning, in one sentence.

    Attributes:
        policy: The policy; None once it has failed.
        critical: The first critical finding in words; empty without one.
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
        """Last step concerned by a critical finding on the run's state; -1 if none."""
        return self.policy.unhealthy_step if self.policy else -1

    def event(self, event: Event) -> None:
        """Pass an event on."""
        if self.policy:
            self.policy.event(event)

    def observe(self, record: StepRecord) -> None:
        """Show a step to the policy and tell what it finds."""
        self._last = record
        self._tell(lambda policy: policy.observe(record))

    def ask(self) -> None:
        """Ask about the last steps now, whenever the policy would have been asked next."""
        if self._last is not None:
            self._tell(lambda policy: policy.ask())

    def _tell(self, question: Callable[[Policy], Sequence[Finding]]) -> None:
        """Tell what is found newly."""
        if self.policy is None or self._last is None:
            return
        try:
            found = question(self.policy)
        except Exception as error:
            self.policy = None
            self._warn(
                f"the rules failed and are off for this run, rescue too: {type(error).__name__}: {error}"
            )
            return
        attempt, step = self._last.attempt, self._last.step
        for finding in found:
            data = {key: getattr(finding, key) for key in _TOLD}
            self._emit(
                Event(attempt=attempt, step=step, kind="finding", block=finding.block, data=data)
            )
            if finding.severity == "critical":
                self.critical = self.critical or f"{finding.rule}: {finding.message}"
