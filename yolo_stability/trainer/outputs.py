"""Outputs of one run: trace, rules, sinks and the healthy checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from yolo_stability.compat.ultralytics import LOGGER
from yolo_stability.core.types import EpochRecord, Event, RunHeader, StepRecord
from yolo_stability.guard.checkpoints import HealthyCheckpoint
from yolo_stability.guard.forward_check import forward_problem
from yolo_stability.trace import TraceWriter
from yolo_stability.trainer.live_findings import LiveFindings
from yolo_stability.trainer.loggers import Sink

__all__ = ["Outputs"]


class Outputs:
    """Distributes records and events; an output that fails is dropped and training continues.

    Args:
        sinks: Sinks of the run.

    Attributes:
        findings: Evaluates the run for findings; None without a policy and until the run starts.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self.findings: LiveFindings | None = None
        self._sinks = list(sinks)
        self._writer: TraceWriter | None = None
        self._checkpoint: HealthyCheckpoint | None = None
        self._logged: set[str] = set()

    def open(self, folder: Path, header: RunHeader, *, guarded: bool) -> None:
        """Create the trace and open the sinks.

        Args:
            folder: Folder of the trace.
            header: Header of the run.
            guarded: Whether to keep a healthy checkpoint.
        """
        self._writer = TraceWriter(folder, [block.name for block in header.blocks])
        self._writer.write_header(header)
        if guarded:
            self._checkpoint = HealthyCheckpoint(folder, problem_of=forward_problem)
        self._each_sink(lambda sink: sink.open(header))

    def mute(self) -> None:
        """Drop all sinks, because another process writes."""
        self._sinks.clear()

    def warn(self, text: str | None) -> None:
        """Log a warning, unless the same one has been logged before."""
        if text and text not in self._logged:
            self._logged.add(text)
            LOGGER.warning(f"stability: {text}")

    def record(self, record: StepRecord) -> None:
        """Distribute a record; warn at once if writing it to disk fails."""
        if self._writer:
            self._writer.append(record)
            self.warn(self._writer.error)
        self._each_sink(lambda sink: sink.write(record))
        if self.findings:
            self.findings.observe(record)

    def event(self, event: Event) -> None:
        """Distribute an event."""
        if self._writer:
            self._writer.event(event)
        if self.findings:
            self.findings.event(event)
        self._each_sink(lambda sink: sink.event(event))

    def epoch(self, record: EpochRecord) -> None:
        """Write the record of an epoch."""
        if self._writer:
            self._writer.epoch(record)

    def end_epoch(self, epoch: int) -> None:
        """Let sinks summarize the epoch, and compact the trace."""
        self._each_sink(lambda sink: sink.end_epoch(epoch))
        if self._writer:
            self._writer.compact()

    def saved(self, last: Path, *, step: int, unhealthy_step: int, proven: bool) -> None:
        """Consider a checkpoint for `healthy.pt`; see `HealthyCheckpoint.saved`."""
        if self._checkpoint and last.exists():
            self._checkpoint.saved(
                last, step=step, unhealthy_step=self._unhealthy(unhealthy_step), proven=proven
            )
            self.warn(self._checkpoint.error)

    def close(self, *, step: int, unhealthy_step: int, ended: bool) -> None:
        """Finalize the healthy checkpoint, and close sinks and trace.

        See `HealthyCheckpoint.close` for the arguments.
        """
        if self._checkpoint:
            unhealthy_step = self._unhealthy(unhealthy_step)
            self._checkpoint.close(step=step, unhealthy_step=unhealthy_step, ended=ended)
            self.warn(self._checkpoint.error)
        self._each_sink(lambda sink: sink.close())
        if self._writer:
            self._writer.close()
            if self._writer.error:  # repeated at the end of the log, where users look
                LOGGER.warning(f"stability: {self._writer.error}")

    def _unhealthy(self, step: int) -> int:
        """Return the last unhealthy step by its values or by a finding; -1 if there was none."""
        return max(step, self.findings.unhealthy_step if self.findings else -1)

    def _each_sink(self, call: Callable[[Sink], None]) -> None:
        """Call every sink; one that fails is dropped with a warning."""
        for sink in list(self._sinks):
            try:
                call(sink)
            except Exception as error:
                self._sinks.remove(sink)
                LOGGER.warning(
                    f"stability: {type(sink).__name__} failed and is disabled for this run: {error}"
                )
