"""Forked runs crash, hang and print independently, and none outlives its client."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sample_benchmark import run_spec

from yolo_stability.benchmarks.process import supervisor as child
from yolo_stability.benchmarks.process.fork_server import ForkedRun, ForkServer

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="runs are forked on Linux only"
)

FAKE = """
import json, os, signal, socket, sys, threading, time
from pathlib import Path
from yolo_stability.benchmarks.process.fork_server import serve

def run(folder):
    what, _, value = folder.name.partition("-")
    print(what, os.getpid(), os.environ["YOLO_STABILITY_PARENT"], os.environ.get("MARK"))
    if what == "exit":
        return int(value)
    if what == "die":
        os.kill(os.getpid(), int(value))
    if what == "raise":
        raise ValueError("on purpose")
    if what == "interrupt":
        raise KeyboardInterrupt
    if what == "leave":
        sys.exit(int(value))
    if what == "thread":
        threading.Thread(target=lambda: (time.sleep(0.3), (folder / "late").touch())).start()
    if what == "sleep":
        sys.stdout.flush()
        while os.getppid() == int(os.environ["YOLO_STABILITY_PARENT"]):
            time.sleep(0.05)
        os._exit(137)
    return 0

serve(socket.socket(fileno=int(sys.argv[-1])), run)
"""


@pytest.fixture
def fork_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ForkServer]:
    """Provide a fork server whose runs act according to the name of their folder."""
    popen = subprocess.Popen

    def start(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        if "--serve" in command:
            command = [sys.executable, "-c", FAKE, command[-1]]
        return popen(command, **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(subprocess, "Popen", start)
    place = ForkServer({**os.environ, "MARK": "x"})
    yield place
    place.close()


def fork(fork_server: ForkServer, folder: Path) -> ForkedRun:
    folder.mkdir()
    with (folder / "log").open("wb") as log:
        return fork_server.fork(folder, log.fileno())


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("exit-0", 0),
        ("exit-7", 7),
        ("leave-3", 3),
        ("raise", 1),
        ("die-9", -9),
        ("die-11", -11),
        ("interrupt", -signal.SIGINT),
        ("thread", 0),
    ],
)
def test_it_ends_as_a_process_of_its_own_would(
    what: str, code: int, fork_server: ForkServer, tmp_path: Path
) -> None:
    run = fork(fork_server, tmp_path / what)
    assert run.wait(20) == code
    assert run.poll() == run.returncode == code
    log = (tmp_path / what / "log").read_text()
    if not what.startswith("die"):  # what a killed process had not printed yet is lost
        assert log.startswith(f"{what.partition('-')[0]} {run.pid} ")
        assert log.splitlines()[0].endswith(" x")
    assert ("ValueError: on purpose" in log) == (what == "raise")
    assert (tmp_path / what / "late").exists() == (what == "thread")


def test_one_that_dies_takes_no_other_along(fork_server: ForkServer, tmp_path: Path) -> None:
    sleeper = fork(fork_server, tmp_path / "sleep")
    assert [fork(fork_server, tmp_path / f"die-{n}").wait(20) for n in (9, 6)] == [-9, -6]
    assert sleeper.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        sleeper.wait(0.05)
    assert os.getpgid(sleeper.pid) == sleeper.pid != os.getpgid(0)
    os.killpg(sleeper.pid, signal.SIGKILL)
    assert sleeper.wait(20) == -9


def test_a_run_that_hangs_is_ended_at_its_time_limit(
    fork_server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped process does not handle SIGTERM."""
    monkeypatch.setattr(child, "_GRACE_SECONDS", 0.5)
    run = fork(fork_server, tmp_path / "sleep")
    os.kill(run.pid, signal.SIGSTOP)
    assert child._wait(run, run_spec(minutes=0.01), lambda: False)[0] == "timeout"
    assert run.returncode == -signal.SIGKILL


def test_a_run_over_its_memory_is_ended(fork_server: ForkServer, tmp_path: Path) -> None:
    run = fork(fork_server, tmp_path / "sleep")
    why, peak = child._wait(run, run_spec(gigabytes=0.001), lambda: False)
    assert why == "memory"
    assert peak > 1e6
    assert run.returncode == -signal.SIGTERM


def test_without_it_runs_end_and_none_can_be_forked(
    fork_server: ForkServer, tmp_path: Path
) -> None:
    sleeper = fork(fork_server, tmp_path / "sleep")
    os.kill(psutil.Process(sleeper.pid).ppid(), signal.SIGKILL)
    assert sleeper.wait(20) == -signal.SIGKILL
    assert gone(sleeper.pid)
    with pytest.raises(OSError, match=r"Broken pipe|reset|is gone"):
        fork(fork_server, tmp_path / "exit-0")


def test_runs_end_with_it(fork_server: ForkServer, tmp_path: Path) -> None:
    sleeper = fork(fork_server, tmp_path / "sleep")
    fork_server.close()
    assert gone(sleeper.pid)


@pytest.mark.parametrize("forked", [True, False])
def test_an_interrupt_of_whoever_supervises_ends_the_run(
    forked: bool, fork_server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run folder may be deleted next: `verify` uses a temporary folder."""
    seen: list[int] = []

    def interrupted(pid: int) -> int:
        seen.append(pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(
        child, "_forked", lambda *_: fork(fork_server, tmp_path / "sleep") if forked else None
    )
    monkeypatch.setattr(child, "_resident", interrupted)
    with pytest.raises(KeyboardInterrupt):
        child.supervise(run_spec(), tmp_path)
    (pid,) = seen
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def gone(pid: int) -> bool:
    """Return whether a process ends within 20 seconds."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("device", ["0", "cuda", None])
def test_what_may_touch_a_gpu_is_not_forked(
    device: str | None, fork_server: ForkServer, tmp_path: Path
) -> None:
    chosen = run_spec(settings={"device": device})
    with (tmp_path / "log").open("wb") as log:
        assert child._forked(fork_server, chosen, tmp_path, log) is None
    assert not (tmp_path / "log").read_text()


def test_where_nothing_can_be_forked_a_run_is_started_anew(
    fork_server: ForkServer, tmp_path: Path
) -> None:
    assert fork(fork_server, tmp_path / "exit-0").wait(20) == 0
    fork_server.close()
    with (tmp_path / "log").open("wb") as log:
        assert child._forked(fork_server, run_spec(), tmp_path, log) is None
