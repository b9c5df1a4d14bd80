"""kill -9 while a trace writer merges its parts: every step on disk is kept exactly once."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from plan import COMPACTION_KILLS, SEED
from process import HERE, allowed, environment, read_log

sys.path.insert(0, str(HERE.parent))

from traces import NAMES, record, write

from yolo_stability.trace import load_trace, resume_point
from yolo_stability.trace.layout import list_parts

KINDS = {"outside": 0.20, "merge": 0.35, "half": 0.15, "named": 0.15, "removed": 0.15}
"""Share of the kills; see compactor.py."""


def all_moments(count: int) -> list[str]:
    rng = random.Random(SEED)

    def moment(kind: str) -> str:
        return {
            "outside": lambda: f"outside:{rng.uniform(0.3, 2.0):.3f}",
            "merge": lambda: f"merge:{rng.randint(1, 8)}:{rng.uniform(0, 0.02):.4f}",
            "half": lambda: f"half:{rng.randint(1, 8)}",
            "named": lambda: f"named:{rng.randint(1, 40)}",
            "removed": lambda: f"removed:{rng.randint(1, 24)}",
        }[kind]()

    moments = [moment(kind) for kind, share in KINDS.items() for _ in range(round(share * count))]
    rng.shuffle(moments)
    return moments


def examine(folder: Path, number: int, line: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return what a killed writer has left, and what is wrong with it."""
    run, log, wrong = folder / str(number), read_log(folder / f"{number}.log"), []
    if line["code"] != -9:
        return {"lost": 0, "seconds": 0.0}, [f"exit {line['code']}, not killed"]
    trace = load_trace(run)
    read = trace.steps.height
    if trace.steps["step"].to_list() != list(range(read)) or read > len(log.steps) + 1:
        wrong.append(f"{read} steps in the trace, {len(log.steps)} in the log, or a gap")
    if trace.steps["iteration"].to_list() != [record(s).iteration for s in range(read)]:
        wrong.append("a step holds something else")
    if trace.blocks.select("step", "block").rows() != [(s, n) for s in range(read) for n in NAMES]:
        wrong.append("a step without all its blocks")
    killed = log.killed or line["killed"]
    seconds = 0.0 if read >= len(log.steps) else killed - log.steps[read]
    if seconds > allowed():
        wrong.append(f"{seconds:.2f} s are missing")
    return {"lost": max(0, len(log.steps) - read), "seconds": seconds}, wrong + go_on(run, read)


def go_on(run: Path, read: int) -> list[str]:
    """Write on as a resumed run does; return what is wrong then."""
    folder = run / "stability"
    for temp in folder.rglob(".*.tmp"):
        os.utime(temp, (1, 1))  # as if the resume came later than ten seconds
    point = resume_point(folder)
    first = point.step + 1 if point else 0
    wrong = [] if first == read else [f"goes on at step {first}, not {read}"]
    write(run, [record(s, attempt=1) for s in range(first, first + 5)])
    trace = load_trace(run)
    if trace.steps.select("attempt", "step").rows() != [
        (int(s >= first), s) for s in range(first + 5)
    ]:
        wrong.append("not every step is there once after the resume")
    left = [p.name for p in folder.rglob("*.tmp")]
    parts = [len(list_parts(folder, table)) for table in ("steps", "blocks")]
    return wrong + ([f"left over: {left}, {parts} parts"] if left or parts != [1, 1] else [])


def kill_all(folder: Path, moments: list[str]) -> None:
    """Kill at each moment, and complain about all of it at the end."""
    command = [sys.executable, str(HERE / "compactor.py"), str(folder), *moments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment())
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["moment"] for line in lines] == moments
    bad: list[str] = []
    lost, seconds, half = [0], [0.0], 0
    for number, line in enumerate(lines):
        half += any((folder / str(number)).rglob("*.tmp"))
        found, wrong = examine(folder, number, line)
        bad += [f"{line['moment']}: {what}" for what in wrong]
        lost.append(found["lost"])
        seconds.append(found["seconds"] if line["moment"].startswith("outside") else 0.0)
        shutil.rmtree(folder / str(number), ignore_errors=True)
    kinds = dict(Counter(m.partition(":")[0] for m in moments))
    print(
        f"\n{len(moments)} kills (seed {SEED}) {kinds}; {half} left a file half written; "
        f"{len(bad)} complaints"
    )
    print(
        f"of steps on disk lost: 0; in memory at most {max(lost)} steps, {max(seconds):.2f} s at "
        "the usual pace"
    )
    assert not bad, "\n".join(bad)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="writers are forked")
def test_some_kills(tmp_path: Path) -> None:
    kill_all(tmp_path, ["half:2", "named:9", "removed:3", "merge:2:0.002"])


@pytest.mark.full
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="writers are forked")
def test_a_hundred_kills(tmp_path: Path) -> None:
    moments = all_moments(COMPACTION_KILLS)
    assert len(moments) == COMPACTION_KILLS
    kill_all(tmp_path, moments)
