"""Where records of a running training go besides the trace."""

from __future__ import annotations

from typing import Protocol

from yolo_stability.types import Event, RunHeader, StepRecord

__all__ = ["Sink"]


class Sink(Protocol):
    """What every sink does; whatever it raises is caught and ends the sink, never the run."""

    def open(self, header: RunHeader) -> None:
        """Begin a run."""

    def write(self, record: StepRecord) -> None:
        """Take one optimizer step."""

    def event(self, event: Event) -> None:
        """Take one event."""

    def end_epoch(self, epoch: int) -> None:
        """Close an epoch, counted from 0."""

    def close(self) -> None:
        """End the run."""
