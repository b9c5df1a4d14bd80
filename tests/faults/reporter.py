"""`compare`, killed while it writes; forked repeatedly from a process with all imports.

    python reporter.py FOLDER NUMBER KIND MOMENT NUMBER KIND MOMENT ...

A child works in `FOLDER/<NUMBER>`. KIND is `again` (the benchmark there is reported again) or `new`
(`../a` and `../b` are compared for the first time, into `out`). A MOMENT is `time:SECONDS` from
outside, after it began; `half:N`, when the Nth file is half written; `named:N`, when the Nth file
has just got its name; or `never`. One line of JSON a child.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import matplotlib.figure  # noqa: F401 - imported once for all

from yolo_stability.benchmarks import runner
from yolo_stability.benchmarks.compare import compare_runs
from yolo_stability.core.files import replace_file
from yolo_stability.report import figures, markdown, page, write  # noqa: F401
from yolo_stability.report.write import write_report


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment: str) -> None:
    """See to it that this process dies at its moment."""
    kind, _, number = moment.partition(":")
    calls = iter(range(1, 10**9))

    def halved(path: Path, content: bytes) -> None:
        if next(calls) == int(number):
            temp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
            temp.write_bytes(content[: len(content) // 2])
            die()
        replace_file(path, content)

    def renamed(path: Path, target: Any) -> Path:
        result = replace(path, target)
        if next(calls) == int(number):
            die()
        return result

    replace = Path.replace
    if kind == "half":
        for module in (runner, write):
            module.replace_file = halved  # type: ignore[attr-defined]
    elif kind == "named":
        Path.replace = renamed  # type: ignore[method-assign]


def one(folder: Path, kind: str, moment: str) -> dict[str, Any]:
    """Fork a `compare`, wait for its end, and say how it ended."""
    began, told = os.pipe()
    child = os.fork()
    if not child:
        code = 9
        try:
            os.chdir(folder)
            arm(moment)
            os.write(told, b"!")
            result = compare_runs(["."] if kind == "again" else ["../a", "../b"], Path("out"))
            write_report(
                result.folder
            )  # as `yolo_stability.compare` does, which would import torch
            code = 0
        finally:
            os._exit(code)
    os.read(began, 1)
    os.close(began)
    os.close(told)
    if moment.startswith("time:"):
        time.sleep(float(moment.partition(":")[2]))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return {"kind": kind, "moment": moment, "code": os.waitstatus_to_exitcode(status)}


def main(folder: Path, words: list[str]) -> None:
    assert threading.active_count() == 1, "a fork takes one thread along"
    for number, kind, moment in zip(words[::3], words[1::3], words[2::3], strict=True):
        print(json.dumps(one(folder / number, kind, moment)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
