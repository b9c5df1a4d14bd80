"""Trace writers that are killed one after the other, forked from a process with all imports.

    python compactor.py FOLDER MOMENT ...

Each child writes synthetic steps to `FOLDER/<number>/stability` and is killed at its moment; it
logs each step in `FOLDER/<number>.log`, independently of the trace. A MOMENT is

    outside:SECONDS   killed from outside, SECONDS after the first step, at the pace of a training
    merge:N:SECONDS   SECONDS after the Nth merge began
    half:N            when the Nth file of a merge is half written
    named:N           when the Nth file has just been renamed
    removed:N         when the Nth piece of a merge has just been removed

Prints one line of JSON per child: its moment, when it was killed, and its exit code.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import polars  # noqa: F401 - once for all; nothing of it may run before a fork, which would lose its workers
from traces import NAMES, header, record

from yolo_stability.trace import TraceWriter, compaction

PACE = 0.002
COMPACT_EVERY = 40
BORED = 20.0


def die(log: int) -> None:
    os.write(log, f"kill {time.time():.6f}\n".encode())
    os.kill(os.getpid(), signal.SIGKILL)


def at_the_nth(
    function: Callable[..., Any], number: int, then: Callable[[], None]
) -> Callable[..., Any]:
    """Return a function that does something more after its Nth call."""
    calls = iter(range(1, 10**9))

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if next(calls) == number:
            then()
        return result

    return wrapped


def arm(kind: str, numbers: list[str], log: int) -> None:
    """See to it that this process dies at its moment."""
    number = int(numbers[0]) if kind != "outside" else 0
    merge = compaction.Compactor.merge
    merges = iter(range(1, 10**9))

    def late() -> None:
        time.sleep(float(numbers[1]))
        die(log)

    def merged(self: Any, **kwargs: Any) -> None:
        if next(merges) == number:
            threading.Thread(target=late, daemon=True).start()
        merge(self, **kwargs)

    def half(path: Path, content: Any, *, sync: bool = False) -> None:
        if sync and next(merges) == number:
            content = content if isinstance(content, bytes) else b"".join(content)
            path.with_name(f".{path.name}.{os.getpid()}.tmp").write_bytes(
                content[: len(content) // 2]
            )
            die(log)
        replace(path, content, sync=sync)

    replace = compaction.replace_file
    if kind == "merge":
        compaction.Compactor.merge = merged  # type: ignore[method-assign]
    elif kind == "half":
        compaction.replace_file = half  # type: ignore[assignment]
    elif kind == "named":
        compaction.replace_file = at_the_nth(replace, number, lambda: die(log))  # type: ignore[assignment]
    elif kind == "removed":
        Path.unlink = at_the_nth(Path.unlink, number, lambda: die(log))  # type: ignore[method-assign]


def write(folder: Path, log: int, *, flush_seconds: float) -> None:
    """Write steps until the end, which comes from elsewhere."""
    writer = TraceWriter(folder / "stability", NAMES, flush_seconds=flush_seconds)
    writer.write_header(header())
    end = time.monotonic() + BORED
    for step in range(10**6):
        writer.append(record(step))
        os.write(log, f"step {time.time():.6f}\n".encode())
        if step % COMPACT_EVERY == COMPACT_EVERY - 1:
            writer.compact()
        time.sleep(PACE)
        if time.monotonic() > end:
            os._exit(7)


def one(folder: Path, number: int, moment: str) -> dict[str, Any]:
    """Fork a writer, wait for its death, and say how it died."""
    kind, *numbers = moment.split(":")
    path = folder / f"{number}.log"
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    child = os.fork()
    if not child:
        try:
            arm(kind, numbers, log)
            write(folder / str(number), log, flush_seconds=0.5 if kind == "outside" else 0.02)
        finally:
            os._exit(8)
    os.close(log)
    killed = None
    if kind == "outside":
        while not path.stat().st_size:
            time.sleep(0.005)
        time.sleep(float(numbers[0]))
        killed = time.time()
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return {"moment": moment, "killed": killed, "code": os.waitstatus_to_exitcode(status)}


def main(folder: Path, moments: list[str]) -> None:
    assert threading.active_count() == 1, "a fork takes one thread along"
    for number, moment in enumerate(moments):
        print(json.dumps(one(folder, number, moment)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
