"""Folders that cannot be written, and one folder for two runs."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from process import loads, resume, start, train

from yolo_stability.trace import load_trace

pytestmark = pytest.mark.trains


def test_a_second_run_in_the_folder_is_refused(tmp_path: Path) -> None:
    """And the first does not notice; when it was killed, the next may begin at once."""
    first = start(tmp_path, train(tmp_path, epochs=60), name="first")
    first.wait_for(lambda log: "checkpoint" in log.done)
    second = start(tmp_path, train(tmp_path, epochs=1), name="second")
    assert second.end() == 2, second.text()
    assert f"Another run (process {first.process.pid}" in second.last_line()
    assert "choose another name=" in second.last_line()
    assert "Traceback" not in second.text()
    resumed = start(tmp_path, resume(tmp_path / "run"), name="resumed")
    assert resumed.end() == 2, resumed.text()
    first.wait_for(lambda log: log.done.count("checkpoint") >= 2)
    first.process.kill()
    log_steps = len(first.wait_for_end().steps)
    run = tmp_path / "run"
    before = load_trace(run)
    assert before.steps["step"].to_list() == list(range(before.steps.height))
    assert 0 <= log_steps - before.steps.height < 20
    loads(run / "weights" / "last.pt")
    third = start(tmp_path, train(tmp_path, epochs=1), name="third")
    assert third.end() == 0, third.text()
    assert load_trace(run).header.run_id != before.header.run_id


@pytest.mark.full
def test_two_runs_that_start_at_the_same_moment(tmp_path: Path) -> None:
    """Exactly one of them trains."""
    both = [start(tmp_path, train(tmp_path, epochs=2), name=name) for name in ("a", "b")]
    assert sorted(child.end() for child in both) == [0, 2], [child.text() for child in both]
    assert load_trace(tmp_path / "run").steps.height == 8


@pytest.mark.parametrize(
    "where",
    [
        "under-a-file",
        *(pytest.param(w, marks=pytest.mark.full) for w in ("a-file", "no-folder", "proc")),
    ],
)
def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path, where: str) -> None:
    """Root may write wherever there is a folder, so some of these places are none."""
    file = tmp_path / "file"
    file.write_text("a file")
    places = {
        "under-a-file": file,
        "a-file": tmp_path,
        "proc": Path("/proc/self/nothing"),
        "no-folder": Path("/proc/1"),
    }
    if not Path("/proc/self").exists():
        pytest.skip("no /proc here")
    name = "file" if where == "a-file" else "run"
    child = start(tmp_path, train(places[where], name=name))
    assert child.end() == 2, child.text()
    assert child.last_line().startswith("yolo-stability: "), child.text()
    assert "project=" in child.last_line(), child.last_line()
    assert "Traceback" not in child.text()
    assert "[Errno" not in child.last_line()
    print(child.last_line())


@pytest.mark.full
def test_a_stopped_run_still_holds_its_folder(tmp_path: Path) -> None:
    """A process that is stopped, not dead, will go on writing."""
    first = start(tmp_path, train(tmp_path, epochs=60), name="first")
    first.wait_for(lambda log: len(log.steps) >= 3)
    first.process.send_signal(signal.SIGSTOP)
    second = start(tmp_path, train(tmp_path, epochs=1), name="second")
    assert second.end() == 2, second.text()
    first.process.send_signal(signal.SIGCONT)
    first.process.terminate()
    assert first.end() == 130, first.text()
