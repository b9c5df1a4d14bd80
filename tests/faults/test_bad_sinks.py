"""Sinks that raise in any of their calls, or hang: they go, the run and its trace stay."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import pytest
from inside import Inside
from plan import SINK_CALLS
from process import loads

from yolo_stability.core.types import Event, RunHeader, StepRecord
from yolo_stability.trainer.loggers import Sink
from yolo_stability.trainer.loggers._tracker import Note, Point, TrackerSink

pytestmark = [pytest.mark.trains, pytest.mark.full]


class Raising(Sink):
    """Raises in one of its calls, at the second time where there is one."""

    at: ClassVar[str]
    calls: ClassVar[list[str]]

    def _do(self, call: str) -> None:
        self.calls.append(call)
        if call == self.at and (call in {"open", "close"} or self.calls.count(call) == 2):
            raise RuntimeError(f"{call} failed")

    def open(self, header: RunHeader) -> None:
        self._do("open")

    def write(self, record: StepRecord) -> None:
        self._do("write")

    def event(self, event: Event) -> None:
        self._do("event")

    def end_epoch(self, epoch: int) -> None:
        self._do("end_epoch")

    def close(self) -> None:
        self._do("close")


def test_a_sink_that_raises_is_off_for_the_run(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yolo_stability.trainer.monitor._make_sinks", lambda: (Raising(),))
    for call in SINK_CALLS:
        Raising.at, Raising.calls = call, []
        run = inside.train(name=call, epochs=3, fault="nan_grad@5,6", incidents=0)
        assert run.code == 0, run.said
        assert f"Raising failed and is disabled for this run: {call} failed" in run.said
        assert Raising.calls[-1] == call
        assert run.trace.steps["step"].to_list() == list(range(12))
        assert loads(run.last) == -1
        inside.tell(f"a sink that raises in {call}: 12 of 12 steps recorded")


class Hanging(TrackerSink):
    """A tracker whose network is gone."""

    title = "Hanging"
    period = 0.02
    patience = (0.05, 0.5)
    gate: ClassVar[threading.Event]
    seconds: ClassVar[float | None]
    sent: ClassVar[list[int]]
    took: ClassVar[list[float]]

    def find(self) -> Any:
        return self

    def send(self, run: Any, points: Sequence[Point], notes: Sequence[Note]) -> None:
        self.gate.wait(self.seconds)
        self.sent += [point.step for point in points]

    def write(self, record: StepRecord) -> None:
        began = time.monotonic()
        super().write(record)
        self.took.append(time.monotonic() - began)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    Hanging.gate = threading.Event()
    yield Hanging.gate
    Hanging.gate.set()


@pytest.mark.parametrize("seconds", [None, 0.4], ids=["for-good", "for-a-while"])
def test_a_sink_that_hangs_keeps_nobody_waiting(
    seconds: float | None, inside: Inside, monkeypatch: pytest.MonkeyPatch, gate: threading.Event
) -> None:
    monkeypatch.setattr("yolo_stability.trainer.monitor._make_sinks", lambda: (Hanging(),))
    Hanging.seconds, Hanging.sent, Hanging.took = seconds, [], []
    run = inside.train(epochs=4)
    assert run.code == 0, run.said
    assert run.trace.steps["step"].to_list() == list(range(16))
    assert sorted(Hanging.took)[8] < 0.01
    assert max(Hanging.took) < 0.25  # others may have had the processor
    if seconds is None:
        assert (
            "Hanging did not accept the last metrics in time; the trace contains all of them"
            in run.said
        )
        assert Hanging.sent == []
    inside.tell(
        f"a sink that hangs {seconds}: 16 of 16 steps recorded, handing over "
        f"{1e3 * max(Hanging.took):.1f} ms at most"
    )
