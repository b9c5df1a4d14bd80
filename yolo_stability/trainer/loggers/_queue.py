"""Log queue: a thread that sends records to an experiment tracker without blocking the training.

Its cost is limited to a fraction of the run's time, measured as the CPU time of the thread: waiting
for the network is free, but Python code holds the interpreter lock. Above that limit, or if the
tracker is too slow, records are thinned out: of every `stride` steps only the one with the largest
gradient norm is sent, so that no spike is lost.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from yolo_stability.core.types import Event, StepRecord

__all__ = ["LogQueue", "Parcel"]

_ROOM = 256  # queued steps; twice as many are thinned out
_NOTES = 100  # queued events; further ones are only counted
_MOST = 1024  # largest stride


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A queued step with statistics since the previous parcel.

    Attributes:
        record: Record of the step.
        update_ratio: Largest update ratio of any block since the previous parcel; None if none was
            sampled.
        skipped: Number of skipped steps so far.
    """

    record: StepRecord
    update_ratio: float | None
    skipped: int

    def height(self) -> float:
        """Return the gradient norm as a sort key: non-finite is largest, missing is smallest."""
        norm = self.record.grad_norm
        if norm is None:
            return -1.0
        return norm if math.isfinite(norm) else math.inf


Deliver = Callable[[Sequence[Parcel], Sequence[Event]], None]


class LogQueue:
    """Accepts steps and events within microseconds and delivers them from its own thread.

    Args:
        deliver: Sends a batch to the tracker; called in the thread. An exception ends the queue and
            is stored in `error`.
        name: Name of the thread.
        share: Fraction of the run's time that deliveries may take.
        period: Time between deliveries, in seconds.
    """

    def __init__(self, deliver: Deliver, *, name: str, share: float, period: float) -> None:
        self.error: BaseException | None = None
        self.stride = 1
        self.lost_events = 0
        self._deliver, self._name, self._share, self._period = deliver, name, share, period
        # reentrant, because an interrupt may close the run while the lock is held
        self._moved = threading.Condition()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._parcels: list[Parcel] = []
        self._events: list[Event] = []
        self._best: Parcel | None = None
        self._ratio: float | None = None
        self._seen = self._since = self._skipped = self._delivered = 0
        self._stuck_at = -1
        self._busy = self._closing = False
        self._cost: float | None = None
        self._clock = time.monotonic()

    def step(self, record: StepRecord) -> None:
        """Queue one optimizer step."""
        self._skipped += record.skipped is not None
        self._seen += 1
        self._ratio = _larger(self._ratio, *(b.update_ratio for b in record.blocks))
        parcel = Parcel(record=record, update_ratio=None, skipped=self._skipped)
        if self._best is None or parcel.height() > self._best.height():
            self._best = parcel
        self._since += 1
        if self._since >= self.stride:
            self._seal()

    def event(self, event: Event) -> None:
        """Queue one event."""
        with self._moved:
            if len(self._events) < _NOTES:
                self._events.append(event)
            else:
                self.lost_events += 1
        self._start()

    def wait(self, seconds: float) -> bool:
        """Request a delivery and wait for it.

        Args:
            seconds: Timeout. Returns at once if an earlier wait timed out and nothing has been
                delivered since.

        Returns:
            Whether everything has been delivered.
        """
        if self._thread is None:
            return True
        self._wake.set()
        with self._moved:
            if self._stuck_at == self._delivered:
                return self._done()
            done = self._moved.wait_for(self._done, seconds)
            self._stuck_at = -1 if done else self._delivered
        return done

    def close(self, seconds: float) -> bool:
        """Deliver everything, including an incomplete stride, and end the thread; see `wait`."""
        self._seal()
        self._closing = True
        return self.wait(seconds)

    def discard(self) -> None:
        """Discard everything queued, because the tracker's run has ended."""
        with self._moved:
            self._best, self._since = None, 0
            self._parcels, self._events = [], []

    def _done(self) -> bool:
        return self.error is not None or not (self._busy or self._parcels or self._events)

    def _seal(self) -> None:
        """Queue the step of the stride with the largest gradient norm."""
        if self._best is None:
            return
        parcel = replace(self._best, update_ratio=self._ratio)
        self._best, self._ratio, self._since = None, None, 0
        with self._moved:
            self._parcels.append(parcel)
            if len(self._parcels) > 2 * _ROOM:
                self._parcels = _halved(self._parcels)
                self.stride = min(2 * self.stride, _MOST)
        self._start()

    def _start(self) -> None:
        if self._thread is None and self.error is None:
            self._thread = threading.Thread(
                target=self._work, name=f"stability-{self._name}", daemon=True
            )
            self._thread.start()

    def _work(self) -> None:
        while self.error is None:
            closing = self._closing
            if not closing:
                self._wake.wait(self._period)
                self._wake.clear()
            self._round()
            if closing:
                return

    def _round(self) -> None:
        """Deliver everything queued and measure the cost."""
        with self._moved:
            parcels, events = self._parcels, self._events
            self._parcels, self._events = [], []
            self._busy = bool(parcels or events)
        if not self._busy:
            return
        before = time.thread_time()
        try:
            self._deliver(parcels, events)
        except BaseException as error:
            self.error = error
        spent = time.thread_time() - before
        with self._moved:
            self._busy = False
            self._delivered += 1
            # The first delivery includes imports and connection setup.
            if parcels and self._delivered > 1:
                self._adjust(spent / len(parcels))
            self._moved.notify_all()

    def _adjust(self, cost: float) -> None:
        """Choose the stride that keeps deliveries within their share of the time."""
        self._cost = cost if self._cost is None else (self._cost + cost) / 2
        now = time.monotonic()
        rate = self._seen / max(now - self._clock, 1e-3)
        self._clock, self._seen = now, 0
        needed = min(max(1, math.ceil(rate * self._cost / self._share)), _MOST)
        # The stride was raised by a slow tracker, not by cost: reduce it gradually.
        self.stride = needed if needed >= self.stride else max(needed, self.stride // 2)


def _larger(*values: float | None) -> float | None:
    """Return the largest known value, NaN if any value is NaN, or None without values."""
    known = [v for v in values if v is not None]
    return next((v for v in known if math.isnan(v)), max(known, default=None))


def _halved(parcels: Sequence[Parcel]) -> list[Parcel]:
    """Return the larger parcel of each pair of neighbors."""
    pairs = [parcels[i : i + 2] for i in range(0, len(parcels), 2)]
    return [
        replace(max(pair, key=Parcel.height), update_ratio=_larger(*(p.update_ratio for p in pair)))
        for pair in pairs
    ]
