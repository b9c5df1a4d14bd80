"""A folder that is read-only or without permission, from the start and all of a sudden."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from inside import Ended, Inside
from powerless import without_power
from process import loads

pytestmark = [pytest.mark.trains, pytest.mark.full]
Mount = Callable[[Path, str], None]
Lock = Callable[[], None]


def remount(folder: Path, how: str) -> None:
    """Mount a folder read-only (`ro`) or writable (`rw`); it is busy while a file is open."""
    for _ in range(500):
        done = subprocess.run(
            ["mount", "-o", f"remount,{how}", str(folder)], capture_output=True, check=False
        )
        if done.returncode == 0:
            return
        time.sleep(0.01)
    raise AssertionError(done.stderr)


@pytest.fixture
def ordinary() -> Iterator[None]:
    """Let permission bits count for root as for anybody; skip where that cannot be."""
    with without_power() as why:
        if why:
            pytest.skip(why)
        yield


def chmod(mode: int, *folders: Path) -> None:
    for folder in folders:
        folder.chmod(mode)


def at_step(number: int, lock: Lock) -> Callable[[Any], None]:
    count = iter(range(10**9))

    def hand(trainer: Any) -> None:
        if next(count) == number and not trainer.resume:
            lock()

    return hand


def check_refused(run: Ended, said: str) -> None:
    """Check that a run which could not write anything says so in one sentence."""
    assert run.code == 2, run.said
    assert said in run.said
    assert "project=" in run.said
    assert "Traceback" not in run.said
    assert "[Errno" not in run.last_line


def check_telemetry_stopped(run: Ended, said: str) -> int:
    """Check that a run ended without its telemetry; return the number of recorded steps."""
    assert run.code == 0, run.said
    assert said in run.said
    assert "Telemetry stopped" in run.said
    assert loads(run.last) == -1
    assert len((run.run / "results.csv").read_text().splitlines()) == 7
    return -1 if not (run.run / "stability" / "header.json").exists() else run.trace.steps.height


def check_resumes(inside: Inside, run: Ended, unlock: Lock) -> None:
    """Check that a run which had to end left a whole checkpoint, and goes on once it can write."""
    assert run.code == 2, run.said
    assert "Traceback" not in run.said
    epoch, before = loads(run.last), run.trace.steps.height
    assert epoch >= 1
    unlock()
    again = inside.resume(run)
    assert again.code == 0, again.said
    steps = again.trace.steps
    assert steps["step"].to_list() == list(range(before + 4 * (5 - epoch)))
    inside.tell(f"exit 2, last.pt of epoch {epoch + 1} whole, {before} steps recorded, resumed")


def test_read_only_from_the_start(inside: Inside, small_disk: Mount) -> None:
    small_disk(inside.folder / "a", "50m")
    remount(inside.folder / "a", "ro")
    check_refused(inside.train(epochs=1), "Read-only file system")


@pytest.mark.parametrize("step", [None, 9])
def test_read_only_under_the_telemetry(step: int | None, inside: Inside, small_disk: Mount) -> None:
    folder = inside.folder / "a" / "run" / "stability"
    small_disk(folder, "50m")
    if step is None:
        remount(folder, "ro")
    hands = (
        {}
        if step is None
        else {"on_train_batch_start": at_step(step, lambda: remount(folder, "ro"))}
    )
    recorded = check_telemetry_stopped(inside.train(epochs=6, hands=hands), "Read-only file system")
    assert recorded == -1 if step is None else recorded <= 9
    inside.tell(
        f"read-only under the telemetry at step {step}: {max(recorded, 0)} of 24 steps recorded, "
        "all trained"
    )


def test_read_only_under_the_whole_run(inside: Inside, small_disk: Mount) -> None:
    folder = inside.folder / "a"
    small_disk(folder, "100m")
    run = inside.train(
        epochs=6, hands={"on_train_batch_start": at_step(13, lambda: remount(folder, "ro"))}
    )
    check_resumes(inside, run, lambda: remount(folder, "rw"))


@pytest.mark.usefixtures("ordinary")
def test_no_permission_from_the_start(inside: Inside) -> None:
    (inside.folder / "a").mkdir(mode=0o500)
    check_refused(inside.train(epochs=1), "Permission denied")


@pytest.mark.usefixtures("ordinary")
def test_permission_lost_under_the_telemetry(inside: Inside) -> None:
    folder = inside.folder / "a" / "run" / "stability"
    hands = {"on_train_batch_start": at_step(9, lambda: chmod(0o500, folder, folder / "trace"))}
    run = inside.train(epochs=6, hands=hands)
    chmod(0o700, folder, folder / "trace")
    recorded = check_telemetry_stopped(run, "Permission denied")
    assert recorded <= 9
    inside.tell(
        f"permission lost under the telemetry at step 9: {recorded} of 24 steps recorded, all "
        "trained"
    )


@pytest.mark.usefixtures("ordinary")
def test_permission_lost_under_the_whole_run(inside: Inside) -> None:
    run = inside.folder / "a" / "run"
    folders = (run / "stability" / "trace", run / "stability", run / "weights", run)
    hands = {"on_train_batch_start": at_step(13, lambda: chmod(0o500, *folders))}
    ended = inside.train(epochs=6, hands=hands)
    check_resumes(inside, ended, lambda: chmod(0o700, *reversed(folders)))
