"""What may judge a run while it goes on, and end it: injected, since step and rescue know no rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from yolo_stability.core.actions import Action, Ending
from yolo_stability.core.findings import Finding
from yolo_stability.core.types import BlockSpec, Event, RunHeader, StepRecord

__all__ = ["Policy"]


class Policy(Protocol):
    """Is asked at every step, synchronously; it must decide alike on every rank, from the records alone."""

    @property
    def unhealthy_step(self) -> int:
        """Last step concerned by a critical finding on the run's state; -1 without any."""

    @property
    def doubtful_step(self) -> int:
        """Last step after which a state should not be trusted; -1 if none."""

    def open(self, blocks: Sequence[BlockSpec], header: RunHeader | None = None) -> None:
        """Begin a run, or a further sitting of one.

        Args:
            blocks: Blocks that the records will name.
            header: The run's settings, where they are known in this process.
        """

    def event(self, event: Event) -> None:
        """Take note of an event."""

    def observe(self, record: StepRecord) -> Sequence[Finding]:
        """Take a complete step; return what has newly been found."""

    def ask(self) -> Sequence[Finding]:
        """Judge the last steps now; return what has newly been found."""

    def decide(self) -> Action | Ending | None:
        """Return what is to be done about what was found; None for nothing. Asked after each iteration."""

    def undone(self, restored: int) -> None:
        """Forget the steps since a state that was put back.

        Args:
            restored: Steps that had been taken when that state was.
        """
