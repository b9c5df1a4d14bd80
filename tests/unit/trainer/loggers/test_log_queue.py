"""Slow trackers do not block, costly ones get fewer records, and spikes are never lost."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from yolo_stability.core.types import BlockStats, Event, StepRecord
from yolo_stability.trainer.loggers._queue import LogQueue, Parcel


def record(
    step: int, norm: float | None = 1.0, *, ratio: float | None = None, skipped: bool = False
) -> StepRecord:
    return StepRecord(
        attempt=0,
        step=step,
        iteration=step,
        epoch=0,
        accumulate=1,
        loss=1.0,
        loss_items={},
        lr_by_group={"pg0": 0.1},
        momentum=0.9,
        grad_norm=norm,
        clip_coef=0.5,
        amp_scale=None,
        skipped="guard" if skipped else None,
        nonfinite=0,
        seconds=0.1,
        blocks=(
            BlockStats(block="a", grad_norm=norm, update_ratio=ratio),
            BlockStats(block="b", grad_norm=None),
        ),
    )


def event(step: int) -> Event:
    return Event(attempt=0, step=step, kind="notice", data={"text": f"at {step}"})


class Office:
    """Receives deliveries; it can block, and it can use CPU time."""

    def __init__(self) -> None:
        self.parcels: list[Parcel] = []
        self.events: list[Event] = []
        self.threads: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.burn = 0.0

    def __call__(self, parcels: Sequence[Parcel], events: Sequence[Event]) -> None:
        self.gate.wait(30)
        end = time.thread_time() + self.burn * len(parcels)
        while time.thread_time() < end:
            pass
        self.threads.add(threading.current_thread().name)
        self.parcels += parcels
        self.events += events

    @property
    def steps(self) -> list[int]:
        return [parcel.record.step for parcel in self.parcels]


@pytest.fixture
def office() -> Iterator[Office]:
    made = Office()
    yield made
    made.gate.set()  # let its thread end


def queue(office: Office, *, share: float = 1e9, period: float = 60.0) -> LogQueue:
    return LogQueue(office, name="test", share=share, period=period)


def test_everything_arrives_in_order_from_a_thread_of_its_own(office: Office) -> None:
    post = queue(office)
    for step in range(100):
        post.step(record(step, skipped=step % 10 == 0))
        if step % 25 == 0:
            post.event(event(step))
    assert post.wait(5)
    assert office.steps == list(range(100))
    assert [e.step for e in office.events] == [0, 25, 50, 75]
    assert [p.skipped for p in office.parcels] == [1 + step // 10 for step in range(100)]
    assert office.threads == {"stability-test"}
    assert post.close(5)


def test_a_delivery_comes_by_itself_after_the_period(office: Office) -> None:
    post = queue(office, period=0.01)
    post.step(record(0))
    end = time.monotonic() + 10
    while not office.parcels and time.monotonic() < end:
        time.sleep(0.005)
    assert office.steps == [0]
    post.close(5)


def test_closing_ends_the_thread(office: Office) -> None:
    post = queue(office)
    post.step(record(0))
    thread = post._thread
    assert thread is not None
    assert thread.is_alive()
    assert post.close(5)
    thread.join(10)
    assert not thread.is_alive()


def test_nothing_starts_before_there_is_something(office: Office) -> None:
    post = queue(office)
    assert post.wait(5)
    assert post.close(5)
    assert post._thread is None


def test_a_stuck_tracker_takes_no_time_and_no_memory(office: Office) -> None:
    office.gate.clear()
    post = queue(office, period=0.001)
    began = time.monotonic()
    norms = [1000.0 if step == 7777 else 1.0 for step in range(20_000)]
    for step, norm in enumerate(norms):
        post.step(record(step, norm))
        post.event(event(step))
    assert len(post._parcels) <= 512
    assert len(post._events) <= 100
    assert post.lost_events > 19_000
    assert post.stride > 1
    assert not post.wait(0.05)
    waited = time.monotonic()
    for _ in range(100):  # it has timed out once: no further wait
        assert not post.wait(0.5)
    assert time.monotonic() - waited < 5  # a hundred waits would be 50 s
    assert not post.close(0.5)
    assert time.monotonic() - began < 20
    office.gate.set()
    end = time.monotonic() + 10
    while not post.wait(1) and time.monotonic() < end:
        pass
    assert office.steps == sorted(set(office.steps))
    assert 7777 in office.steps  # however much was thinned out


def test_a_costly_tracker_gets_its_share_and_no_more(office: Office) -> None:
    office.burn = 0.002
    post = queue(office, share=0.05, period=0.05)
    began, step = time.monotonic(), 0
    while time.monotonic() - began < 3:
        post.step(record(step))
        step += 1
        time.sleep(0.001)
    # Delivering every step would take 2 ms, twice as long as a step; the reduction depends on
    # the machine.
    assert 0 < len(office.parcels) < step / 2
    assert post.stride > 1
    post.close(5)


def test_a_cheap_tracker_shows_every_step(office: Office) -> None:
    post = queue(office, share=0.5, period=0.02)
    for step in range(300):
        post.step(record(step))
        time.sleep(0.001)
    assert post.close(5)
    assert office.steps == list(range(300))
    assert post.stride == 1


@pytest.mark.parametrize("worst", [50.0, math.inf, math.nan])
def test_of_a_stride_the_largest_goes_with_the_largest_ratio(office: Office, worst: float) -> None:
    post = queue(office)
    post.stride = 8
    for step in range(20):
        post.step(
            record(
                step, worst if step == 11 else 1.0 + 0.01 * step, ratio={9: 0.3, 14: 0.2}.get(step)
            )
        )
    post.close(5)
    assert office.steps == [7, 11, 19]  # 16 to 19 are no whole stride, but the run is over
    assert [p.update_ratio for p in office.parcels] == [None, 0.3, None]


def test_a_failure_ends_it_and_is_kept(office: Office) -> None:
    def fail(parcels: Sequence[Parcel], events: Sequence[Event]) -> None:
        raise ConnectionError("the server is gone")

    post = LogQueue(fail, name="test", share=1.0, period=0.001)
    post.step(record(0))
    assert post.wait(5)
    assert isinstance(post.error, ConnectionError)
    for step in range(1, 2000):
        post.step(record(step))
    assert post.close(5)
    assert len(post._parcels) <= 512


def test_what_is_discarded_is_not_delivered(office: Office) -> None:
    post = queue(office)
    post.step(record(0))
    post.wait(5)
    post.stride = 10
    post.step(record(1))
    post.event(event(1))
    post.discard()
    assert post.close(5)
    assert office.steps == [0]
    assert office.events == []
