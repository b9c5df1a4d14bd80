"""kill -9 at any moment: the trace is readable, a checkpoint loads, and a resume continues."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from plan import SEED, TRAINING_KILLS, moments_in_training
from process import Log, allowed, loads, read_log, resume, start, train

from yolo_stability.core.errors import TraceError
from yolo_stability.core.lock import LOCK_FILE
from yolo_stability.trace import load_trace

pytestmark = pytest.mark.trains
COLUMNS = (
    f"{'moment':<24}{'in':<12}{'steps':>6}{'read':>6}{'lost s':>8}  "
    f"{'last.pt':<9}{'healthy':<9}resume"
)


def seconds_missing(log: Log, read: int) -> float:
    """Return how long before the kill the first step ended that the trace lacks."""
    assert log.killed is not None
    return 0.0 if read >= len(log.steps) else log.killed - log.steps[read]


def epoch_of(checkpoint: Path) -> int | None:
    """Return the epoch of a checkpoint, which must be whole if it is there."""
    return loads(checkpoint) if checkpoint.exists() else None


def kill(folder: Path, moment: str, *, resumes: bool) -> tuple[dict[str, Any], list[str]]:
    """Kill one training at a moment; return what was found, and what is wrong with it."""
    folder.mkdir()
    run, wrong = folder / "run", []
    child = start(folder, train(folder), moment=moment)
    code, log = child.end(), read_log(child.log)
    if code != -9:
        wrong.append(f"exit {code}, not killed: {child.text()[-500:]}")
        log.killed = log.killed or max(log.steps)
    read = 0
    try:
        trace = load_trace(run)
        read = trace.steps.height
        if trace.steps["step"].to_list() != list(range(read)) or read > len(log.steps) + 1:
            wrong.append(f"{read} steps in the trace, {len(log.steps)} in the log, or a gap")
        if trace.blocks.height != read * len(trace.header.blocks):
            wrong.append("a step without all its blocks")
    except TraceError as error:
        if log.steps or "header" not in log.open:
            wrong.append(f"the trace does not read: {error}")
    lost = seconds_missing(log, read)
    if lost > allowed():
        wrong.append(f"{lost:.2f} s are missing")
    last, healthy = (
        epoch_of(run / "weights" / "last.pt"),
        epoch_of(run / "stability" / "healthy.pt"),
    )
    if last is None and "checkpoint" in log.done:
        wrong.append("a checkpoint had been completed, and last.pt is gone")
    found = {
        "in": (log.open or ["training"])[-1],
        "steps": len(log.steps),
        "read": read,
        "lost": lost,
    }
    found |= {"last": last, "healthy": healthy, "resume": "-"}
    if resumes and last is not None:
        found["resume"], more = go_on(folder, run, read, last)
        wrong += more
    return found, wrong


def go_on(folder: Path, run: Path, read: int, last: int) -> tuple[str, list[str]]:
    """Resume a killed run; return how that ended, and what is wrong with it."""
    child = start(folder, resume(run), name="resumed")
    code = child.end()
    if last in {
        -1,
        9,
    }:  # killed after its last epoch: there is nothing left to train, which one sentence says
        # Of a stripped checkpoint (-1) Ultralytics no longer knows the dataset, and complains about
        # that first.
        right = (
            code == 2
            and "Traceback" not in child.text()
            and (last == -1 or "nothing to resume" in child.text())
        )
        return "finished", [] if right else [
            f"resume of a finished run: exit {code}: {child.text()[-500:]}"
        ]
    if code != 0:
        return f"exit {code}", [f"resume: {child.text()[-800:]}"]
    trace, wrong = load_trace(run), []
    if trace.steps["step"].to_list() != list(range(trace.steps.height)):
        wrong.append("steps are not in a row after the resume")
    if (
        trace.steps.filter(attempt=1).height != 4 * (9 - last)
        or trace.steps.filter(attempt=0).height != read
    ):
        wrong.append(
            f"after the resume {trace.steps.group_by('attempt').len().rows()}, before {read}, "
            f"epoch {last}"
        )
    if trace.events["kind"].to_list()[-1] != "end" or loads(run / "stability" / "healthy.pt") < 0:
        wrong.append("no end, or no healthy.pt after the resume")
    debris = [
        p.name
        for p in run.rglob("*")
        if p.name.endswith(".tmp") or p.name in {".writing", LOCK_FILE}
    ]
    if [
        name for name in debris if not name.endswith(".tmp")
    ]:  # a young .tmp could be a living writer's
        wrong.append(f"left over: {debris}")
    return "0", wrong


def kill_all(folder: Path, moments: list[str], *, resume_every: int) -> None:
    """Kill at each moment, print the table, and complain about all of it at the end."""
    print(f"\n{COLUMNS}")
    bad, lost, busy = [], [], False
    for i, moment in enumerate(moments):
        found, wrong = kill(folder / str(i), moment, resumes=i % resume_every == 0)
        whole = ["none" if e is None else f"epoch {e}" for e in (found["last"], found["healthy"])]
        print(
            f"{moment:<24}{found['in']:<12}{found['steps']:>6}{found['read']:>6}{found['lost']:>8.2f}"
            f"  {whole[0]:<9}{whole[1]:<9}{found['resume']}",
        )
        sys.stdout.flush()
        bad += [f"{moment}: {what}" for what in wrong]
        lost.append(found["lost"])
        busy |= allowed() > 1
        shutil.rmtree(folder / str(i), ignore_errors=True)
    over = sum(seconds > 1 for seconds in lost)
    print(
        f"{len(moments)} kills (seed {SEED}), most seconds missing {max(lost):.2f}, {over} times "
        "more than one"
    )
    print(f"machine overloaded by others, more allowed: {busy}; {len(bad)} complaints")
    assert not bad, "\n".join(bad)


@pytest.mark.full
def test_three_kills(tmp_path: Path) -> None:
    """One kill of each kind, selectable by name: during training, a checkpoint and a merge."""
    kill_all(tmp_path, ["step:17:0.03", "checkpoint:3:0.06", "merge:7:0.005"], resume_every=2)


@pytest.mark.full
@pytest.mark.timeout(4800)
def test_fifty_kills(tmp_path: Path) -> None:
    moments = moments_in_training()
    assert len(moments) == TRAINING_KILLS
    kill_all(tmp_path, moments, resume_every=1)
