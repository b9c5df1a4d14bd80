"""A benchmark that is killed and resumed repeatedly, forked from a process with all imports.

    python suitekiller.py FOLDER SUITE KILLS SEED

The first benchmark, in `FOLDER/whole`, is not killed. Those in `FOLDER/0`, `FOLDER/1`, ... are
killed at random moments (`kill -9` of the benchmark's process, not of its workers) and resumed
until they complete. Prints one line of JSON per session: its folder, its exit code or whether it
was killed, the final runs at its start and end with a time stamp each, and how long the workers
outlived it.

The workers are real; only the fork server is forked instead of started, to save its imports.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import torch
import torch._inductor.config
import torchvision  # noqa: F401

from yolo_stability.api import train  # noqa: F401
from yolo_stability.benchmarks.executors import local
from yolo_stability.benchmarks.plan import RunOutcome
from yolo_stability.benchmarks.process import worker
from yolo_stability.benchmarks.process.fork_server import ForkServer, serve
from yolo_stability.benchmarks.process.supervisor import _environment
from yolo_stability.studies.run_benchmark import run_benchmark
from yolo_stability.trainer.trainers import StabilityDetectionTrainer  # noqa: F401

MARKS = ("spec.json", "header.json", "run.json")


class Forked:
    """What a fork server would know of a process that it started."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)

    def wait(self) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


def ready_fork_server(config: Path) -> ForkServer:
    """Fork what forks runs; before any thread is there."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if not pid:
        ours.close()
        os.setsid()
        os.environ.update(_environment(config))
        try:
            serve(theirs, lambda folder: worker.main(folder, start=time.monotonic()))
        finally:
            os._exit(0)
    theirs.close()
    fork_server = ForkServer({})
    fork_server._socket, fork_server._process = ours, Forked(pid)  # type: ignore[assignment]
    return fork_server


def benchmark(suite: str, out: Path, config: Path) -> int:
    """Run or resume a benchmark in a forked process; return its number."""
    child = os.fork()
    if child:
        return child
    code = 9
    try:
        log = os.open(out.with_suffix(".txt"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        fork_server = ready_fork_server(config)

        @contextlib.contextmanager
        def shared() -> Iterator[ForkServer]:
            yield fork_server
            fork_server.close()

        local.shared_imports = shared  # type: ignore[assignment]
        run_benchmark(suite, out=out, jobs=1)
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def final(out: Path) -> dict[str, int]:
    """Return the runs that have a final outcome, and when it was written."""
    files = sorted(out.glob("runs/*/*/*/*/run.json"))
    outcomes = {file: RunOutcome.read(file.parent) for file in files}
    return {
        str(f.relative_to(out)): f.stat().st_mtime_ns
        for f, o in outcomes.items()
        if o is not None and o.is_final
    }


def marks(out: Path) -> int:
    """Count what tells of progress; folders may come and go meanwhile."""
    return sum(name in MARKS for _, _, names in os.walk(out) for name in names)


def sit(suite: str, out: Path, config: Path, moment: tuple[int, float] | None) -> dict[str, Any]:
    """Run a benchmark until its end, or kill it: so long after so many marks of progress."""
    before, had = final(out), marks(out)
    child = benchmark(suite, out, config)
    killed, workers, status = False, [], None
    while moment is not None:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        status = None
        if marks(out) >= had + moment[0]:
            time.sleep(moment[1])
            with contextlib.suppress(psutil.Error):
                workers = psutil.Process(child).children(recursive=True)
            os.kill(child, signal.SIGKILL)
            killed = True
            break
        time.sleep(0.02)
    if status is None:
        _, status = os.waitpid(child, 0)
    began = time.monotonic()
    _, alive = psutil.wait_procs(workers, timeout=60)
    code = os.waitstatus_to_exitcode(status)
    return {
        **{
            "folder": out.name,
            "killed": killed and code == -9,
            "code": code,
            "before": before,
            "after": final(out),
        },
        **{"outlived": time.monotonic() - began, "alive": len(alive), "marks": marks(out)},
    }


def main(folder: Path, suite: str, kills: int, seed: int) -> None:
    torch.set_num_threads(1)
    assert threading.active_count() == 1, "a fork takes one thread along"
    rng, number, killed = random.Random(seed), 0, 0
    config = folder / "config"
    print(json.dumps(sit(suite, folder / "whole", config, None)), flush=True)
    ended = False
    while killed < kills or not ended:
        moment = (rng.randint(0, 6), rng.uniform(0, 1.5)) if killed < kills else None
        line = sit(suite, folder / str(number), config, moment)
        print(json.dumps(line), flush=True)
        killed += line["killed"]
        ended = not line["killed"]
        number += ended


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
