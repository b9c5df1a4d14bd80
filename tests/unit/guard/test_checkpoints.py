"""Files are whole or untouched, and a healthy checkpoint outlives what comes after it."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from yolo_stability.guard.checkpoints import HealthyCheckpoint, atomic_checkpoints


@pytest.fixture
def trainer(tmp_path: Path) -> SimpleNamespace:
    """Paths as Ultralytics has them."""
    wdir = tmp_path / "weights"
    wdir.mkdir()
    return SimpleNamespace(wdir=wdir, last=wdir / "last.pt", best=wdir / "best.pt")


def save(trainer: SimpleNamespace, content: bytes) -> None:
    trainer.last.write_bytes(content)
    trainer.best.write_bytes(content)
    (trainer.wdir / "epoch3.pt").write_bytes(content)


def test_every_file_of_a_save_arrives(trainer: SimpleNamespace) -> None:
    trainer.last.write_bytes(b"old")
    wdir = trainer.wdir
    with atomic_checkpoints(trainer):
        save(trainer, b"new")
        assert (wdir / "last.pt").read_bytes() == b"old"
    assert trainer.wdir == wdir
    assert {p.name: p.read_bytes() for p in wdir.iterdir()} == dict.fromkeys(
        ["last.pt", "best.pt", "epoch3.pt"], b"new"
    )


def test_a_save_that_fails_leaves_everything_as_it_was(trainer: SimpleNamespace) -> None:
    trainer.last.write_bytes(b"old")

    def fail() -> None:
        with atomic_checkpoints(trainer):
            trainer.last.write_bytes(b"ne")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert {p.name: p.read_bytes() for p in trainer.wdir.iterdir()} == {"last.pt": b"old"}
    assert trainer.last.parent == trainer.wdir


def test_only_files_open_for_writing_are_flushed(
    trainer: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows refuses any other: each save would fail there."""
    flushed = []

    def fsync(descriptor: int) -> None:
        assert os.write(descriptor, b"") == 0  # EBADF where it is open for reading only
        flushed.append(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with atomic_checkpoints(trainer):
        save(trainer, b"new")
    assert len(flushed) == 3
    keeper = HealthyCheckpoint(trainer.wdir, age=0)
    keeper.saved(trainer.last, step=1, unhealthy_step=-1)
    assert keeper.error is None
    assert len(flushed) == 4
    assert trainer.last.read_bytes() == b"new"


def test_leftovers_of_a_killed_save_are_removed(trainer: SimpleNamespace) -> None:
    (trainer.wdir / ".writing").mkdir()
    (trainer.wdir / ".writing" / "last.pt").write_bytes(b"half")
    with atomic_checkpoints(trainer):
        trainer.best.write_bytes(b"new")
    assert {p.name for p in trainer.wdir.iterdir()} == {"best.pt"}


def last(folder: Path, content: str) -> Path:
    path = folder / "last.pt"
    path.write_text(content)
    return path


def healthy(folder: Path) -> str | None:
    path = folder / "healthy.pt"
    return path.read_text() if path.exists() else None


def test_a_checkpoint_becomes_healthy_when_time_has_proven_it(tmp_path: Path) -> None:
    keeper = HealthyCheckpoint(tmp_path, age=32)
    keeper.saved(last(tmp_path, "16"), step=16, unhealthy_step=-1)
    assert healthy(tmp_path) is None
    keeper.saved(last(tmp_path, "32"), step=32, unhealthy_step=-1)
    assert healthy(tmp_path) is None
    keeper.saved(last(tmp_path, "48"), step=48, unhealthy_step=-1)
    assert healthy(tmp_path) == "16"
    keeper.saved(last(tmp_path, "80"), step=80, unhealthy_step=-1)
    assert healthy(tmp_path) == "48"


def test_what_trouble_followed_never_replaces_a_healthy_one(tmp_path: Path) -> None:
    keeper = HealthyCheckpoint(tmp_path, age=10)
    keeper.saved(last(tmp_path, "10"), step=10, unhealthy_step=-1)
    keeper.saved(last(tmp_path, "20"), step=20, unhealthy_step=-1)
    assert healthy(tmp_path) == "10"
    keeper.saved(last(tmp_path, "30"), step=30, unhealthy_step=25)
    keeper.close(step=35, unhealthy_step=33, ended=True)
    assert healthy(tmp_path) == "10"
    assert [p.name for p in tmp_path.glob(".*")] == []


def test_a_short_run_that_ends_well_has_one_too(tmp_path: Path) -> None:
    keeper = HealthyCheckpoint(tmp_path)
    keeper.saved(last(tmp_path, "4"), step=4, unhealthy_step=-1)
    keeper.close(step=8, unhealthy_step=-1, ended=True)
    assert healthy(tmp_path) == "4"


def test_a_checkpoint_out_of_the_midst_of_trouble_is_no_candidate(tmp_path: Path) -> None:
    keeper = HealthyCheckpoint(tmp_path, age=32)
    keeper.saved(last(tmp_path, "36"), step=36, unhealthy_step=-1)
    keeper.saved(last(tmp_path, "72"), step=72, unhealthy_step=-1)
    assert healthy(tmp_path) == "36"
    keeper.saved(last(tmp_path, "108"), step=108, unhealthy_step=107)
    keeper.close(step=108, unhealthy_step=107, ended=True)
    assert healthy(tmp_path) == "36"


def test_an_interrupted_run_keeps_only_what_is_old_enough(tmp_path: Path) -> None:
    keeper = HealthyCheckpoint(tmp_path, age=32)
    keeper.saved(last(tmp_path, "4"), step=4, unhealthy_step=-1)
    keeper.close(step=8, unhealthy_step=-1, ended=False)
    assert healthy(tmp_path) is None


def test_a_restored_state_is_proven_already(tmp_path: Path) -> None:
    keeper = HealthyCheckpoint(tmp_path)
    keeper.saved(last(tmp_path, "bad"), step=10, unhealthy_step=-1)
    keeper.saved(last(tmp_path, "restored"), step=15, unhealthy_step=12, proven=True)
    assert healthy(tmp_path) == "restored"


# --- the check before a checkpoint counts ---------------------------------------------------------


def test_a_checkpoint_that_fails_its_check_never_becomes_healthy(tmp_path: Path) -> None:
    def problem_of(path: Path) -> str | None:
        return "is odd" if path.read_text() in {"16", "restored"} else None

    keeper = HealthyCheckpoint(tmp_path, age=10, problem_of=problem_of, clock=lambda: 0.0)
    keeper.saved(last(tmp_path, "16"), step=16, unhealthy_step=-1)
    keeper.saved(last(tmp_path, "32"), step=32, unhealthy_step=-1)
    assert healthy(tmp_path) is None
    assert keeper.error == "the checkpoint of step 16 is odd, so it does not become healthy.pt."
    keeper.saved(last(tmp_path, "48"), step=48, unhealthy_step=-1)
    assert healthy(tmp_path) == "32"
    keeper.saved(last(tmp_path, "restored"), step=50, unhealthy_step=49, proven=True)
    assert healthy(tmp_path) == "32"
    assert "step 50" in keeper.error


def test_a_check_that_costs_too_much_waits(tmp_path: Path) -> None:
    """One percent of the time: after a check of one second the next one is due in a hundred."""
    now, checked = 0.0, []

    def problem_of(path: Path) -> None:
        nonlocal now
        checked.append(path.read_text())
        now += 1

    keeper = HealthyCheckpoint(tmp_path, age=10, problem_of=problem_of, clock=lambda: now)
    for step in range(10, 200, 10):
        keeper.saved(last(tmp_path, str(step)), step=step, unhealthy_step=-1)
        now += 10
    assert checked == ["10", "20"]
    assert healthy(tmp_path) == "20"
    keeper.close(step=200, unhealthy_step=-1, ended=True)
    assert healthy(tmp_path) == "120"


@pytest.mark.parametrize(("trouble", "right"), [(25, "10"), (35, "20")])
def test_a_check_that_waits_takes_no_proof_away(trouble: int, right: str, tmp_path: Path) -> None:
    times = iter([0.0, 0.0, 1.0, *[2.0] * 20])
    keeper = HealthyCheckpoint(
        tmp_path, age=10, problem_of=lambda _: None, clock=lambda: next(times)
    )
    keeper.saved(last(tmp_path, "10"), step=10, unhealthy_step=-1)
    for step in (20, 30, 40):
        unhealthy = trouble if step > trouble else -1
        keeper.saved(last(tmp_path, str(step)), step=step, unhealthy_step=unhealthy)
    assert healthy(tmp_path) == right


# --- a disk that is full --------------------------------------------------------------------------


def test_a_disk_without_room_is_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even for a moment: telemetry lives on the same disk."""
    keeper = HealthyCheckpoint(tmp_path, age=32)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1))
        patch.setattr(shutil, "copyfile", lambda *_: pytest.fail("tried"))
        keeper.saved(last(tmp_path, "16"), step=16, unhealthy_step=-1)
    assert (
        keeper.error
        == "healthy.pt could not be written: No space left on device; the training continues."
    )
    keeper.saved(
        last(tmp_path, "32"), step=32, unhealthy_step=-1
    )  # room again: the next save tries again
    keeper.saved(last(tmp_path, "64"), step=64, unhealthy_step=-1)
    assert healthy(tmp_path) == "32"


def test_a_copy_that_fails_leaves_nothing_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = HealthyCheckpoint(tmp_path, age=10)
    keeper.saved(last(tmp_path, "10"), step=10, unhealthy_step=-1)
    keeper.saved(last(tmp_path, "20"), step=20, unhealthy_step=-1)
    assert healthy(tmp_path) == "10"

    def full(_: Path, target: Path) -> None:
        target.write_text("ha")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", full)
        keeper.saved(last(tmp_path, "30"), step=30, unhealthy_step=-1)
    assert healthy(tmp_path) == "20"  # what was whole before could still be promoted
    assert keeper.error is not None
    assert not list(tmp_path.glob("*.tmp"))
    assert not list(tmp_path.glob(".*"))


def test_a_folder_that_is_gone_ends_nothing(tmp_path: Path) -> None:
    keeper = HealthyCheckpoint(tmp_path / "gone", age=1)
    keeper.saved(last(tmp_path, "10"), step=10, unhealthy_step=-1)
    keeper.close(step=20, unhealthy_step=-1, ended=True)
    assert "No such file or directory" in str(keeper.error)
