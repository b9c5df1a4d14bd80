"""Where records of a running training go besides the trace; one sink a file, found by its name.

Importing this folder loads none of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from yolo_stability.core.registry import Registry
from yolo_stability.core.types import Event, RunHeader, StepRecord

__all__ = ["SINKS", "Sink"]


class Sink(ABC):
    """What every sink does; whatever it raises is caught and ends the sink, never the run.

    A sink is made without arguments, long before the training starts, and holds nothing open until then: Ultralytics
    sends trainers to its distributed workers.
    """

    @abstractmethod
    def open(self, header: RunHeader) -> None:
        """Begin a run."""

    @abstractmethod
    def write(self, record: StepRecord) -> None:
        """Take one optimizer step."""

    @abstractmethod
    def event(self, event: Event) -> None:
        """Take one event."""

    @abstractmethod
    def end_epoch(self, epoch: int) -> None:
        """Close an epoch, counted from 0."""

    @abstractmethod
    def close(self) -> None:
        """End the run."""


SINKS: Registry[Sink] = Registry("sink", "yolo_stability.trainer.loggers", f"{__name__}.Sink")
