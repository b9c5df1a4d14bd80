"""Supervisor: starts one run in a separate process and enforces its time and memory limits."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from shutil import copyfile, rmtree
from typing import IO

import psutil  # type: ignore[import-untyped]

from yolo_stability.benchmarks.plan import RunOutcome, RunSpec
from yolo_stability.benchmarks.process.fork_server import ForkedRun, ForkServer

__all__ = ["PROGRESS", "shared_imports", "supervise"]

LOG, PROGRESS, SPEC = "run.log", "progress.json", "spec.json"
_POLL_SECONDS = 0.2
_GRACE_SECONDS = 10.0
_HAS_GROUPS = hasattr(os, "killpg")


@contextlib.contextmanager
def shared_imports() -> Iterator[ForkServer]:
    """Provide a fork server for `supervise`, which imports torch and Ultralytics only once."""
    with tempfile.TemporaryDirectory(prefix="yolo-stability-runs-") as config:
        fork_server = ForkServer(_environment(Path(config)))
        try:
            yield fork_server
        finally:
            fork_server.close()


def supervise(
    spec: RunSpec,
    out: Path,
    stopping: Callable[[], bool] = lambda: False,
    fork_server: ForkServer | None = None,
) -> RunOutcome:
    """Run one specification from the start, and write `run.json` to its folder.

    Args:
        spec: Specification to run; files of an earlier attempt are deleted.
        out: Folder of the benchmark.
        stopping: Called several times per second; returns True to end the run.
        fork_server: Server to fork the run from; None to start a new interpreter.

    Returns:
        The outcome of the run.
    """
    folder = out / spec.folder
    rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / SPEC).write_text(
        json.dumps(spec.to_json(), indent=1, sort_keys=True, default=str), encoding="utf-8"
    )
    start = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="yolo-stability-run-") as config,
        (folder / LOG).open("wb") as log,
    ):
        forked = fork_server and _forked(fork_server, spec, folder.resolve(), log)
        process = forked or subprocess.Popen(
            [sys.executable, "-m", "yolo_stability.benchmarks.process.worker", str(folder)],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=_environment(Path(config)),
            start_new_session=True,  # shields it from Ctrl-C and allows killing the whole group
        )
        try:
            ended, peak = _wait(process, spec, stopping)
        except BaseException:  # after Ctrl-C, the caller may delete the folder
            _end(process)
            raise
    outcome = RunOutcome.read(folder)
    if ended or outcome is None or outcome.digest != spec.digest:
        outcome = RunOutcome(
            digest=spec.digest,
            outcome=ended or _outcome_of(process.returncode or 0),
            error=_last_line(folder / LOG, process.returncode or 0)
            if not ended
            else _reason(ended, spec),
        )
    seconds = {**outcome.seconds, "total": round(time.monotonic() - start, 3)}
    outcome = replace(outcome, seconds=seconds, gigabytes=round(peak / 1e9, 3))
    outcome.write(folder)
    return outcome


def _forked(
    fork_server: ForkServer, spec: RunSpec, folder: Path, log: IO[bytes]
) -> ForkedRun | None:
    """Fork a run; return None where runs cannot be forked."""
    if str(spec.settings.get("device")) != "cpu":
        return None  # CUDA does not survive a fork
    with contextlib.suppress(OSError):
        return fork_server.fork(folder, log.fileno())
    return None


def _environment(config: Path) -> dict[str, str]:
    """Return the environment of a run: separate configuration, offline, one thread."""
    _install_fonts(config / "Ultralytics")
    return {
        **os.environ,
        "YOLO_CONFIG_DIR": str(config),
        "YOLO_OFFLINE": os.environ.get("YOLO_OFFLINE", "true"),
        "YOLO_AUTOINSTALL": "false",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "MPLBACKEND": "Agg",
        "PYTHONIOENCODING": "utf-8:backslashreplace",  # the log is always read as UTF-8
        "YOLO_STABILITY_PARENT": str(os.getpid()),
    }


def _install_fonts(folder: Path) -> None:
    """Copy a font to Ultralytics' configuration folder.

    Without it Ultralytics tries to download its own font, even offline.

    Args:
        folder: Configuration folder of Ultralytics.
    """
    found = importlib.util.find_spec("matplotlib")
    if found is not None and found.origin is not None:
        folder.mkdir(exist_ok=True)
        font = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        for name in ("Arial.ttf", "Arial.Unicode.ttf"):
            with contextlib.suppress(OSError):
                copyfile(font, folder / name)


def _wait(
    process: subprocess.Popen[bytes] | ForkedRun, spec: RunSpec, stopping: Callable[[], bool]
) -> tuple[str | None, int]:
    """Wait for a run to end, or end it when it exceeds a limit.

    Args:
        process: Process of the run.
        spec: Specification with the limits.
        stopping: Returns True to end the run.

    Returns:
        The reason for ending the run, None if it ended itself, and its peak memory in bytes.
    """
    deadline, peak = time.monotonic() + 60 * spec.minutes, 0
    while process.poll() is None:
        peak = max(peak, _resident(process.pid))
        why = (
            "killed"
            if stopping()
            else "timeout"
            if time.monotonic() > deadline
            else "memory"
            if peak > spec.gigabytes * 1e9
            else None
        )
        if why:
            _end(process)
            return why, peak
        time.sleep(_POLL_SECONDS)
    return None, peak


def _resident(pid: int) -> int:
    """Return the resident memory of a process and its children, in bytes."""
    try:
        parent = psutil.Process(pid)
        return sum(p.memory_info().rss for p in (parent, *parent.children(recursive=True)))
    except psutil.Error:
        return 0


def _end(process: subprocess.Popen[bytes] | ForkedRun) -> None:
    """End a run with SIGTERM, so that it can write its trace, then with SIGKILL.

    On Windows, which has no process groups, it is killed at once.

    Args:
        process: Process of the run.
    """
    if not _HAS_GROUPS:
        _kill_tree(process.pid)
        process.wait()
        return
    for number, seconds in ((signal.SIGTERM, _GRACE_SECONDS), (signal.SIGKILL, None)):
        try:
            os.killpg(process.pid, number)
            process.wait(seconds)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def _kill_tree(pid: int) -> None:
    """Kill a process and its children."""
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        for process in (*parent.children(recursive=True), parent):
            with contextlib.suppress(psutil.Error):
                process.kill()


def _outcome_of(code: int) -> str:
    """Return the outcome of a run that wrote none itself, from its return code."""
    return "killed" if code in {-signal.SIGINT, -signal.SIGTERM} else "crashed"


def _reason(why: str, spec: RunSpec) -> str:
    """Return why a run was ended, as a message."""
    return {
        "timeout": f"exceeded the suite's time limit of {spec.minutes:g} min",
        "memory": f"exceeded the suite's memory limit of {spec.gigabytes:g} GB",
        "killed": "the benchmark was interrupted",
    }[why]


def _last_line(log: Path, code: int) -> str:
    """Return the last line printed by a run that died, with the signal that ended it."""
    lines = [
        line.strip()
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.strip()
    ]
    last = lines[-1] if lines else "no output"
    return f"ended by signal {-code}: {last}" if code < 0 else last
