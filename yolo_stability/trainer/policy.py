"""`Policy`: interface of the component that evaluates a run during training and may end it.

It is injected, because the step and rescue packages do not depend on the rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from yolo_stability.core.actions import Action, Ending
from yolo_stability.core.findings import Finding
from yolo_stability.core.types import BlockSpec, Event, RunHeader, StepRecord

__all__ = ["Policy"]


class Policy(Protocol):
    """Evaluates a run synchronously at every step.

    It must reach the same decision on every rank, so it may only use the records.
    """

    @property
    def unhealthy_step(self) -> int:
        """Last step affected by a critical finding about the run's state; -1 if none."""

    @property
    def doubtful_step(self) -> int:
        """Last step after which a state should not be trusted; -1 if none."""

    def open(
        self, blocks: Sequence[BlockSpec], header: RunHeader | None = None, *, summed: bool = False
    ) -> None:
        """Start a run, or another session of a resumed run.

        Args:
            blocks: Blocks that the records refer to.
            header: Header of the run; None in processes that do not write it.
            summed: Whether the loss that is differentiated is a sum over the images of a batch.
        """

    def event(self, event: Event) -> None:
        """Process an event."""

    def observe(self, record: StepRecord) -> Sequence[Finding]:
        """Process a complete step and return the new findings."""

    def ask(self) -> Sequence[Finding]:
        """Evaluate the latest steps now and return the new findings."""

    def decide(self) -> Action | Ending | None:
        """Return the response to the findings, None for none; called after each iteration."""

    def undone(self, restored: int) -> None:
        """Discard the steps taken since a restored state.

        Args:
            restored: Number of steps that had been taken when the state was saved.
        """
