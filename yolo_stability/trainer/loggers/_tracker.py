"""Shared base of the sinks for experiment trackers: active run, metric names and throttling."""

from __future__ import annotations

import logging
import sys
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from yolo_stability.core.types import Event, RunHeader, StepRecord
from yolo_stability.trainer.loggers import Sink
from yolo_stability.trainer.loggers._queue import LogQueue, Parcel
from yolo_stability.trainer.loggers.console import event_text

__all__ = ["Note", "Point", "TrackerSink", "enabled", "integration"]

_LOG = logging.getLogger("ultralytics")
_CALLBACKS = "ultralytics.utils.callbacks"
_SERIOUS = ("guard_stop", "fail_on", "rescue_stop", "rollback", "nan_recovery")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The metrics of one optimizer step.

    Attributes:
        step: Optimizer step, the x axis of all metrics.
        values: Metrics by name, each with the prefix `stability/`; they may be NaN or Inf.
    """

    step: int
    values: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A finding or another event as text.

    Attributes:
        step: Optimizer step at which it occurred.
        text: Description of the event.
        rule: Rule that reported the finding; None for other events.
        serious: Whether the run is failing, was stopped or was rolled back.
    """

    step: int
    text: str
    rule: str | None
    serious: bool


class TrackerSink(Sink):
    """Writes to the run that Ultralytics has opened with an experiment tracker.

    Without such a run it does nothing: it imports no tracker and opens no run. Subclasses implement
    `find` for the active run and `send` for writing to it.

    Attributes:
        title: Display name of the tracker.
        share: Fraction of the run's time that logging may take.
        period: Longest time between deliveries, in seconds.
        patience: Timeout for the delivery at the end of an epoch and at the end of the run, in
            seconds.
        after_end: Whether the tracker accepts metrics for a run that has ended.
    """

    title: ClassVar[str]
    share: ClassVar[float] = 0.01
    period: ClassVar[float] = 2.0
    patience: ClassVar[tuple[float, float]] = (0.25, 5.0)
    after_end: ClassVar[bool] = False

    def __init__(self) -> None:
        self._queue: LogQueue | None = None
        self._run: Any = None
        self._thinning_reported = self._over = False

    @abstractmethod
    def find(self) -> Any:
        """Return the run that Ultralytics has open, None without one; called at each step."""

    @abstractmethod
    def send(self, run: Any, points: Sequence[Point], notes: Sequence[Note]) -> None:
        """Write to a run; called in a separate thread.

        Args:
            run: Return value of `find`.
            points: Metrics in the order of their steps.
            notes: Events in chronological order.
        """

    def open(self, header: RunHeader) -> None:
        """Start a run."""
        self._queue = LogQueue(self._deliver, name=self.title, share=self.share, period=self.period)

    def write(self, record: StepRecord) -> None:
        """Queue one optimizer step."""
        queue = self._active()
        if queue:
            queue.step(record)
            self._report_thinning(queue)

    def event(self, event: Event) -> None:
        """Queue one event."""
        queue = self._active()
        if queue and _text(event):
            queue.event(event)

    def end_epoch(self, epoch: int) -> None:
        """Deliver the epoch's metrics before Ultralytics writes its own."""
        queue = self._active()
        if queue:
            queue.wait(self.patience[0])

    def close(self) -> None:
        """Deliver the remaining metrics, if the run still accepts them."""
        queue, over = self._queue, self.find() is None
        if queue is None or self._run is None:
            return
        self._over = over and not self.after_end
        if self._over:
            queue.discard()
        if not queue.close(self.patience[1]):
            _LOG.warning(
                f"stability: {self.title} did not accept the last metrics in time; "
                "the trace contains all of them"
            )
        if queue.error and not self._over:
            raise queue.error
        if queue.lost_events and not self._over:
            _LOG.info(
                f"stability: {queue.lost_events} events were not sent to {self.title}; "
                "events.jsonl contains all of them"
            )

    def _active(self) -> LogQueue | None:
        """Return the queue while there is a run to write to; None otherwise.

        Raises:
            BaseException: The exception that ended the queue.
        """
        if self._queue is None:
            return None
        if self._queue.error:
            raise self._queue.error
        run = self.find()
        if run is None:
            return None
        self._run = run
        return self._queue

    def _deliver(self, parcels: Sequence[Parcel], events: Sequence[Event]) -> None:
        if not self._over:
            self.send(self._run, [_point(p) for p in parcels], [_note(e) for e in events])

    def _report_thinning(self, queue: LogQueue) -> None:
        """Log once that not every step is sent."""
        if queue.stride > 1 and not self._thinning_reported:
            self._thinning_reported = True
            _LOG.info(
                f"stability: logging every step to {self.title} would take more than "
                f"{self.share:.0%} of the run's time: only the largest gradient norm of every few "
                "steps is sent; the trace contains all steps"
            )


def integration(module: str) -> Any:
    """Return Ultralytics' module for a tracker, None if it has not been imported.

    It is looked up at each call and never imported, because its names change when a run opens and
    closes.

    Args:
        module: Name of the module, such as `wb`.
    """
    return sys.modules.get(f"{_CALLBACKS}.{module}")


def enabled(setting: str) -> bool:
    """Return whether a tracker is enabled in Ultralytics' settings.

    Args:
        setting: Name of the setting, such as `wandb`.
    """
    settings = getattr(sys.modules.get("ultralytics.utils"), "SETTINGS", {})
    return settings.get(setting) is True


def _point(parcel: Parcel) -> Point:
    """Return the metrics of a step by name, without those that were not measured."""
    record = parcel.record
    values = {
        "grad_norm_total": record.grad_norm,
        "clip_coef": record.clip_coef,
        "update_ratio": parcel.update_ratio,
        "skipped_steps": float(parcel.skipped),
        **{f"lr/{group}": rate for group, rate in record.lr_by_group.items()},
        **{f"grad_norm/{stats.block}": stats.grad_norm for stats in record.blocks},
    }
    return Point(
        step=record.step,
        values={f"stability/{k}": float(v) for k, v in values.items() if v is not None},
    )


def _note(event: Event) -> Note:
    """Return an event as a note."""
    serious = event.kind in _SERIOUS or event.data.get("severity") == "critical"
    rule = str(event.data["rule"]) if event.kind == "finding" else None
    return Note(step=event.step, text=str(_text(event)), rule=rule, serious=serious)


def _text(event: Event) -> str | None:
    """Return an event as one line, findings in full; None for events that are not displayed."""
    if event.kind != "finding":
        return event_text(event)
    data = event.data
    advice = f"; to try: {data['remedy']}" if data.get("remedy") else ""
    return f"{data['severity']} {data['rule']}: {data['message']}{advice}"
