"""SIGTERM and Ctrl-C, once and twice: everything written, the trace has its end, exit 130."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from process import Child, Log, loads, read_log, resume, start, train

from yolo_stability.core.lock import LOCK_FILE
from yolo_stability.trace import load_trace

pytestmark = pytest.mark.trains


def check_end(child: Child, folder: Path) -> Log:
    """Check that an interrupted run wrote everything, by comparison with an independent log."""
    assert child.end() == 130, child.text()
    assert "Traceback" not in child.text()
    assert child.last_line() == "yolo-stability: Interrupted."
    log, run = read_log(child.log), folder / "run"
    trace = load_trace(run)
    assert trace.steps["step"].to_list() == list(range(trace.steps.height))
    assert (
        len(log.steps) - 1 <= trace.steps.height <= len(log.steps)
    )  # the signal may fall into a step
    kinds, data = trace.events["kind"].to_list(), trace.events["data"].to_list()
    assert kinds.count("end") == 1
    assert kinds[-1] == "end"
    end = json.loads(data[-1])
    assert (end["completed"], end["stopped"], end["state"]) == (False, None, "interrupted")
    assert len(list((run / "stability" / "trace").iterdir())) == 2  # compacted: one part a table
    assert not (run / "stability" / LOCK_FILE).exists()
    return log


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("number", "gaps", "at"),
    [
        (signal.SIGTERM, (), lambda log: len(log.steps) >= 14),
        (signal.SIGINT, (0.05,), lambda log: "checkpoint" in log.done),
        pytest.param(signal.SIGINT, (), lambda log: len(log.steps) >= 9, marks=pytest.mark.full),
        pytest.param(
            signal.SIGTERM, (0.3,), lambda log: "checkpoint" in log.open, marks=pytest.mark.full
        ),
        pytest.param(
            signal.SIGTERM,
            (0, 0.02, 0.2, 0.5, 1),
            lambda log: len(log.steps) >= 6,
            marks=pytest.mark.full,
        ),
        pytest.param(
            signal.SIGINT, (0.1,), lambda log: "final" in log.open, marks=pytest.mark.full
        ),
    ],
    ids=[
        "term",
        "int-twice",
        "int",
        "term-twice-in-checkpoint",
        "term-six-times",
        "int-twice-in-final-evaluation",
    ],
)
def test_an_interrupt_writes_everything(
    tmp_path: Path, number: int, gaps: tuple[float, ...], at: object
) -> None:
    child = start(tmp_path, train(tmp_path))
    child.wait_for(at)  # type: ignore[arg-type]
    child.process.send_signal(number)
    began = time.monotonic()
    for gap in gaps:
        time.sleep(gap)
        child.process.send_signal(number)
    log = check_end(child, tmp_path)
    print(
        f"signal {number} x{1 + len(gaps)} after {len(log.steps)} steps: ended in "
        f"{time.monotonic() - began:.1f} s"
    )
    if "checkpoint" in log.done:
        loads(tmp_path / "run" / "weights" / "last.pt")


@pytest.mark.full
@pytest.mark.parametrize(
    ("number", "gaps"),
    [(signal.SIGTERM, ()), (signal.SIGINT, ()), (signal.SIGINT, (0.05,))],
    ids=["term", "int", "int-twice"],
)
def test_an_interrupted_run_resumes_to_its_end(
    tmp_path: Path, number: int, gaps: tuple[float, ...]
) -> None:
    child = start(tmp_path, train(tmp_path))
    child.wait_for(lambda log: log.done.count("checkpoint") >= 3)
    child.process.send_signal(number)
    for gap in gaps:
        time.sleep(gap)
        child.process.send_signal(number)
    check_end(child, tmp_path)
    again = start(tmp_path, resume(tmp_path / "run"), name="again")
    assert again.end() == 0, again.text()
    kinds = load_trace(tmp_path / "run").events["kind"].to_list()
    assert kinds.count("end") == 2
    assert kinds[-1] == "end"


@pytest.mark.full
def test_an_interrupt_before_the_first_step_is_130_too(tmp_path: Path) -> None:
    child = start(tmp_path, train(tmp_path))
    child.wait_for(lambda log: "header" in log.open or "header" in log.done)
    child.process.send_signal(signal.SIGTERM)
    assert child.end() == 130, child.text()
    assert "Traceback" not in child.text()
