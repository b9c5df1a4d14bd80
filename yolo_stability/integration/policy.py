"""What may judge a run while it goes on, and end it: injected, since this folder knows no rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from yolo_stability.types import BlockSpec, Event, Finding, StepRecord

__all__ = ["Policy"]


class Policy(Protocol):
    """Is asked at every step, synchronously; it must decide alike on every rank, from the records alone."""

    @property
    def unhealthy_step(self) -> int:
        """Last step concerned by a critical finding on the run's state; -1 without any."""

    def open(self, blocks: Sequence[BlockSpec]) -> None:
        """Begin a run, or a further sitting of one.

        Args:
            blocks: Blocks that the records will name.
        """

    def event(self, event: Event) -> None:
        """Take note of an event."""

    def observe(self, record: StepRecord) -> Sequence[Finding]:
        """Take a complete step; return what has newly been found."""
