"""What the sinks of experiment trackers share: which run they write to, the names of the numbers, the throttle."""

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
from yolo_stability.trainer.loggers.console import told

__all__ = ["Note", "Point", "TrackerSink", "enabled", "integration"]

_LOG = logging.getLogger("ultralytics")
_CALLBACKS = "ultralytics.utils.callbacks"
_SERIOUS = ("guard_stop", "fail_on", "rescue_stop", "rollback", "nan_recovery")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The numbers of one optimizer step.

    Attributes:
        step: The optimizer step, the x axis of all of them.
        values: Numbers by name, each beginning with `stability/`; NaN and Inf are among them where they occurred.
    """

    step: int
    values: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A finding or an event in words.

    Attributes:
        step: The optimizer step at which it happened.
        text: What happened.
        rule: Rule that found it; None for an event of another kind.
        serious: Whether the run is failing, was stopped or was set back.
    """

    step: int
    text: str
    rule: str | None
    serious: bool


class TrackerSink(Sink):
    """Writes to the run that Ultralytics has opened with an experiment tracker; without one it does nothing.

    A subclass says where that run is and how numbers are written to it. Nothing is imported and no run is opened.

    Attributes:
        title: Name of the tracker for people.
        share: Part of the run's time that may be taken from the training.
        period: Seconds from one delivery to the next at most.
        patience: Seconds to wait for the delivery at the end of an epoch, and of the run.
        after_end: Whether the tracker takes numbers for a run that has been ended.
    """

    title: ClassVar[str]
    share: ClassVar[float] = 0.01
    period: ClassVar[float] = 2.0
    patience: ClassVar[tuple[float, float]] = (0.25, 5.0)
    after_end: ClassVar[bool] = False

    def __init__(self) -> None:
        self._queue: LogQueue | None = None
        self._run: Any = None
        self._told = self._over = False

    @abstractmethod
    def find(self) -> Any:
        """Return the run that Ultralytics has open now, None without one; asked for at each step."""

    @abstractmethod
    def send(self, run: Any, points: Sequence[Point], notes: Sequence[Note]) -> None:
        """Write to a run; called in a thread of its own.

        Args:
            run: What `find` returned.
            points: Steps in their order.
            notes: Events in their order.
        """

    def open(self, header: RunHeader) -> None:
        """Begin a run."""
        self._queue = LogQueue(self._deliver, name=self.title, share=self.share, period=self.period)

    def write(self, record: StepRecord) -> None:
        """Take one optimizer step."""
        queue = self._active()
        if queue:
            queue.step(record)
            self._say_if_thinned(queue)

    def event(self, event: Event) -> None:
        """Take one event."""
        queue = self._active()
        if queue and _text(event):
            queue.event(event)

    def end_epoch(self, epoch: int) -> None:
        """See to it that the epoch's numbers are there before Ultralytics writes its own."""
        queue = self._active()
        if queue:
            queue.wait(self.patience[0])

    def close(self) -> None:
        """Deliver what is left, if the run still takes it."""
        queue, over = self._queue, self.find() is None
        if queue is None or self._run is None:
            return
        self._over = over and not self.after_end
        if self._over:
            queue.discard()
        if not queue.close(self.patience[1]):
            _LOG.warning(
                f"stability: {self.title} took too long for its last numbers; the trace holds all of them"
            )
        if queue.error and not self._over:
            raise queue.error
        if queue.lost_events and not self._over:
            _LOG.info(
                f"stability: {queue.lost_events} events are not shown in {self.title}; events.jsonl holds all"
            )

    def _active(self) -> LogQueue | None:
        """Return the queue while there is a run to write to.

        Raises:
            BaseException: What ended it.
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

    def _say_if_thinned(self, queue: LogQueue) -> None:
        """Tell once that not every step is shown."""
        if queue.stride > 1 and not self._told:
            self._told = True
            _LOG.info(
                f"stability: {self.title} cannot take every step within {self.share:.0%} of the run: it is shown the "
                "largest of every few; the trace holds all"
            )


def integration(module: str) -> Any:
    """Return the module of Ultralytics that writes to a tracker, None while nobody has loaded it.

    Looked up at each call and never imported: its names change when a run opens and closes.

    Args:
        module: Its name, such as `wb`.
    """
    return sys.modules.get(f"{_CALLBACKS}.{module}")


def enabled(setting: str) -> bool:
    """Return whether Ultralytics' own settings ask for a tracker.

    Args:
        setting: Name of the setting, such as `wandb`.
    """
    settings = getattr(sys.modules.get("ultralytics.utils"), "SETTINGS", {})
    return settings.get(setting) is True


def _point(parcel: Parcel) -> Point:
    """Return the numbers of a step by name; what was not measured is left out."""
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
    """Return an event in words."""
    serious = event.kind in _SERIOUS or event.data.get("severity") == "critical"
    rule = str(event.data["rule"]) if event.kind == "finding" else None
    return Note(step=event.step, text=str(_text(event)), rule=rule, serious=serious)


def _text(event: Event) -> str | None:
    """Return an event as one line, a finding whole; None for what is no news."""
    if event.kind != "finding":
        return told(event)
    data = event.data
    advice = f"; to try: {data['remedy']}" if data.get("remedy") else ""
    return f"{data['severity']} {data['rule']}: {data['message']}{advice}"
