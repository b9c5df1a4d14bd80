"""Runs in new interpreters, as on macOS and Windows, where nothing is forked."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from sample_benchmark import run_spec

from yolo_stability.benchmarks.process import fork_server, supervisor, worker

FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


def family() -> tuple[subprocess.Popen[bytes], psutil.Process]:
    """Start a process that starts another one; return both."""
    parent = subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    return parent, psutil.Process(int(parent.stdout.readline()))


def gone(process: psutil.Process) -> bool:
    """Return whether a process has ended; a zombie has."""
    for _ in range(200):
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_without_process_groups_a_run_and_its_children_are_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "_HAS_GROUPS", False)
    monkeypatch.delattr(os, "killpg", raising=False)
    parent, child = family()
    with parent:
        supervisor._end(parent)
        assert parent.poll() is not None
        assert gone(child)
        supervisor._end(parent)  # it has ended: nothing to do


def test_process_groups_are_used_where_they_exist() -> None:
    assert supervisor._HAS_GROUPS is (os.name == "posix")


@pytest.mark.parametrize("windows", [False, True])
def test_a_run_knows_whether_the_benchmark_lives(
    windows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_WINDOWS", windows)
    assert worker._lives(os.getppid())
    with subprocess.Popen([sys.executable, "-c", ""]) as other:
        other.wait()
    assert not worker._lives(other.pid)


def test_behind_a_launcher_the_benchmark_is_not_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a virtual environment of Windows `python.exe` starts the real one."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as benchmark:
        assert not worker._lives(benchmark.pid)
        monkeypatch.setattr(worker, "_WINDOWS", True)
        assert worker._lives(benchmark.pid)
        benchmark.kill()


def test_where_nothing_forks_a_run_is_started_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its log is read as UTF-8 whatever encoding a console has."""
    started = []
    popen = subprocess.Popen

    def start(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        started.append(command[-2:])
        code = "import sys; print('\\u2713 \\U0001f680', flush=True); sys.exit(5)"
        return popen([sys.executable, "-X", "utf8=0", "-c", code], **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    monkeypatch.setattr(fork_server.sys, "platform", "win32")
    with supervisor.shared_imports() as server:
        monkeypatch.setattr(subprocess, "Popen", start)
        outcome = supervisor.supervise(run_spec(), tmp_path, fork_server=server)
    assert started == [
        ["yolo_stability.benchmarks.process.worker", str(tmp_path / run_spec().folder)]
    ]
    assert (outcome.outcome, outcome.error) == ("crashed", "\u2713 \U0001f680")
