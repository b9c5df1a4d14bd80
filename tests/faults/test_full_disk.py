"""Full disk: telemetry stops with a message, training continues, and complete files survive."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from process import loads, resume, start, train

from yolo_stability.trace import load_trace

pytestmark = pytest.mark.trains
Mount = Callable[[Path, str], None]


def debris(run: Path) -> list[str]:
    return [
        p.name
        for p in run.rglob("*")
        if p.name.endswith(".tmp") or p.name in {".writing", "running.json"}
    ]


def fill(folder: Path) -> Path:
    """Take every byte that is left."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return filler


def test_full_disk_under_the_telemetry_alone(
    tmp_path: Path, small_disk: Mount, caplog: pytest.LogCaptureFixture
) -> None:
    """56 KiB for `stability/`: the header and a few parts fit, a checkpoint never does."""
    run = tmp_path / "run"
    small_disk(run / "stability", "56k")
    child = start(tmp_path, train(tmp_path, epochs=16))
    assert child.end() == 0, child.text()
    said = child.text()
    assert said.count("Telemetry stopped after step ") == 2, (
        said
    )  # when it happened, and at the end
    assert "No space left on device" in said
    assert (
        said.count(
            "healthy.pt could not be written: No space left on device; the training continues."
        )
        == 1
    )
    assert "Traceback" not in said
    with caplog.at_level(logging.WARNING):
        trace = load_trace(run)
    assert not caplog.records  # no part is damaged
    read = trace.steps.height
    assert 0 < read < 64
    assert trace.steps["step"].to_list() == list(range(read))
    assert trace.blocks.height == read * len(trace.header.blocks)
    assert f"after step {read - 1}:" in said
    assert debris(run) == []
    assert loads(run / "weights" / "last.pt") == -1  # stripped: the run came to its end
    assert len((run / "results.csv").read_text().splitlines()) == 17  # every epoch
    print(f"telemetry stopped at step {read} of 64, exit 0")

    # What was recorded is what would have been recorded.
    roomy = start(tmp_path, train(tmp_path / "roomy", epochs=16), name="roomy")
    roomy.wait_for(lambda log: len(log.steps) > read + 8)
    roomy.process.terminate()
    assert roomy.end() == 130, roomy.text()
    same = ["step", "loss", "grad_norm", "clip_coef"]
    assert (
        load_trace(tmp_path / "roomy" / "run")
        .steps[:read]
        .select(same)
        .equals(trace.steps.select(same))
    )


@pytest.mark.full
def test_no_room_for_the_header(tmp_path: Path, small_disk: Mount) -> None:
    """Not even the first file fits: the run trains to its end unrecorded, and is told so."""
    small_disk(tmp_path / "run" / "stability", "4k")
    child = start(tmp_path, [*train(tmp_path, epochs=2), "json=True"])
    assert child.end() == 0, child.text()
    assert "Telemetry stopped: No space left on device" in child.text()
    assert "nothing of this run was recorded" in child.text()
    assert '"steps": 0' in child.last_line()
    assert loads(tmp_path / "run" / "weights" / "last.pt") == -1
    assert debris(tmp_path / "run") == []


@pytest.mark.full
def test_full_disk_under_the_whole_run(tmp_path: Path, small_disk: Mount) -> None:
    """Ultralytics' own files fail: one sentence, exit code 2, and earlier files can be resumed."""
    disk = tmp_path / "disk"
    small_disk(disk, "300m")
    run, last = disk / "run", disk / "run" / "weights" / "last.pt"
    child = start(tmp_path, train(disk, epochs=40))
    child.wait_for(lambda log: log.done.count("checkpoint") >= 2 and not log.open)
    filler = fill(disk)
    before = hashlib.sha256(last.read_bytes()).hexdigest()
    assert child.end() == 2, child.text()
    assert child.last_line().startswith("yolo-stability: No space left on device"), (
        child.last_line()
    )
    assert (
        "Free some space, or choose another disk with project= (or out=, if the verb takes it)."
        in child.last_line()
    )
    assert "Traceback" not in child.text()
    epoch = loads(last)
    assert epoch >= 1
    loads(run / "weights" / "best.pt")
    assert load_trace(run).steps.height >= 4
    kept = hashlib.sha256(last.read_bytes()).hexdigest() == before
    filler.unlink()
    again = start(tmp_path, resume(run), name="again")
    again.wait_for(lambda log: "checkpoint" in log.done)
    again.process.terminate()
    assert again.end() == 130, again.text()
    assert loads(last) > epoch
    assert debris(run) == []
    print(
        f"disk full in epoch {epoch + 1}, exit 2; last.pt of epoch {epoch} whole, untouched "
        f"since: {kept}; resumed"
    )
