"""Telemetry on a disk that is slow, or does not answer: no step waits for it, and the end waits with patience."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from inside import Inside
from plan import SLOW
from process import loads

from yolo_stability.trace import TraceWriter, compaction, writer

pytestmark = [pytest.mark.trains, pytest.mark.full]
SECONDS = {"slow": 0.1, "slower than the steps": 0.6}


class Disk:
    """Takes its time over each part of a trace.

    Args:
        patch: pytest's monkeypatch.
        seconds: For each file; None to block until it is released.
    """

    def __init__(self, patch: pytest.MonkeyPatch, seconds: float | None) -> None:
        self.waited, self.released, self.appends = 0.0, threading.Event(), []
        replace, append = compaction.replace_file, TraceWriter.append

        def slowly(*args: Any, **kwargs: Any) -> None:
            began = time.monotonic()
            self.released.wait(seconds)
            self.waited += time.monotonic() - began
            replace(*args, **kwargs)

        def timed(*args: Any) -> None:
            began = time.monotonic()
            append(*args)
            self.appends.append(time.monotonic() - began)

        patch.setattr(compaction, "replace_file", slowly)
        patch.setattr(TraceWriter, "append", timed)


@pytest.fixture
def released() -> Iterator[list[Disk]]:
    disks: list[Disk] = []
    yield disks
    for disk in disks:  # let its thread end
        disk.released.set()


def test_no_step_waits(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [*SECONDS, "does not answer"] == list(SLOW)
    for name, seconds in SECONDS.items():
        with monkeypatch.context() as patch:
            disk = Disk(patch, seconds)
            run = inside.train(name=name.replace(" ", "-"), epochs=6)
        assert run.code == 0, run.said
        assert run.trace.steps["step"].to_list() == list(range(24))
        assert run.trace.blocks.height == 24 * len(run.trace.header.blocks)
        assert disk.waited >= 4 * seconds
        assert sorted(disk.appends)[len(disk.appends) // 2] < 0.01
        assert max(disk.appends) < max(0.1, seconds)  # others may have had the processor
        most = 1e3 * max(disk.appends)
        inside.tell(
            f"{name}: the disk took {disk.waited:.1f} s, handing over a step at most {most:.1f} ms; nothing lost"
        )


def test_a_disk_that_does_not_answer_ends_the_telemetry(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, released: list[Disk]
) -> None:
    """Only the trace lies on it: where Ultralytics itself writes there, nobody can help."""
    with monkeypatch.context() as patch:
        patch.setattr(writer, "_JOIN_SECONDS", 0.5)
        patch.setattr(writer, "_PATIENCE", 0.5)
        disk = Disk(patch, None)
        released.append(disk)
        run = inside.train(epochs=6)
    assert run.code == 0, run.said
    assert (
        "Telemetry stopped: the disk has not responded for 0.5 s; the training continues."
        in run.said
    )
    assert loads(run.last) == -1
    assert run.trace.steps.height == 0
    assert max(disk.appends) < 0.1
    disk.released.set()
    inside.tell(
        f"the disk does not answer: 24 steps trained, none recorded, handing over {1e3 * max(disk.appends):.1f} ms"
    )
    again = inside.train(name="again", epochs=1)
    assert again.trace.steps.height == 4
