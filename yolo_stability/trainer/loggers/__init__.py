"""Sinks: destinations for the records of a training besides the trace, one module per sink.

Sinks are looked up by name; importing this package loads none of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from yolo_stability.core.registry import Registry
from yolo_stability.core.types import Event, RunHeader, StepRecord

__all__ = ["SINKS", "Sink"]


class Sink(ABC):
    """Base class of all sinks; an exception disables the sink and training continues.

    A sink is created without arguments long before the training starts. It must not open anything
    before `open` is called, because Ultralytics pickles trainers for its distributed workers.

    Example:
        >>> class LossSink(Sink):
        ...     def __init__(self):
        ...         self.losses = []
        ...     def open(self, header):
        ...         print(f"run {header.run_id}")
        ...     def write(self, record):
        ...         self.losses.append(record.loss)
        ...     def event(self, event):
        ...         print(f"step {event.step}: {event.kind}")
        ...     def end_epoch(self, epoch):
        ...         print(f"epoch {epoch + 1}: {len(self.losses)} steps")
        ...     def close(self):
        ...         self.losses.clear()
        >>> sink = LossSink()
        >>> sink.event(Event(attempt=0, step=3, kind="guard_skip", block=None, data={}))
        step 3: guard_skip
        >>> sink.end_epoch(0)
        epoch 1: 0 steps
    """

    @abstractmethod
    def open(self, header: RunHeader) -> None:
        """Start a run."""

    @abstractmethod
    def write(self, record: StepRecord) -> None:
        """Process the record of one optimizer step."""

    @abstractmethod
    def event(self, event: Event) -> None:
        """Process one event."""

    @abstractmethod
    def end_epoch(self, epoch: int) -> None:
        """Finish an epoch, counted from 0."""

    @abstractmethod
    def close(self) -> None:
        """Finish the run."""


SINKS: Registry[Sink] = Registry("sink", "yolo_stability.trainer.loggers", f"{__name__}.Sink")
