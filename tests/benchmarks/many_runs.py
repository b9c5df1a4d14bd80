"""A benchmark of many runs that have all been run: planned, resumed, found complete, assessed and reported.

    python many_runs.py FOLDER ARMS SEEDS

Two tasks, so there are 2 x ARMS x SEEDS runs. Their traces are made up, not trained: calm, with spikes, skipped
steps or an end in NaN, written a few times and copied. Everything after that is what `benchmark` does when it is asked
again: first with every other run missing, whose outcomes are handed over instead of trained, then with none. It prints
JSON.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "faults")]

from environment import timed  # noqa: E402
from million_report import peak  # noqa: E402
from traces import noisy, write  # noqa: E402

from yolo_stability.benchmarks.executors import make_executor  # noqa: E402
from yolo_stability.benchmarks.plan import OUTCOME, RunOutcome, RunSpec  # noqa: E402
from yolo_stability.benchmarks.results import RESULTS_FILE, SERIES_FILE  # noqa: E402
from yolo_stability.benchmarks.runner import make_plan, run_missing, run_suite  # noqa: E402
from yolo_stability.benchmarks.suite import Suite, load_suite  # noqa: E402
from yolo_stability.core.types import StepRecord  # noqa: E402
from yolo_stability.report.write import HTML, write_report  # noqa: E402

STEPS, BLOCKS = 160, 25
ENDINGS = ("calm", "spike", "skips", "dies")
DRAWS = 4
METRICS = {"detect": "metrics/mAP50(B)", "pose": "metrics/mAP50(P)"}


def make_suite(arms: int, seeds: int) -> Suite:
    """Return suite `full` with so many of its arms, the control among them, and so many seeds.

    Args:
        arms: How many arms.
        seeds: How many seeds.
    """
    full = load_suite("full")
    return full.changed({"arms": full.arms[:arms], "seeds": seeds})


def write_runs(out: Path, plan: Sequence[RunSpec], control: str) -> None:
    """Write what each run of a plan would have left: its trace and how it ended.

    Args:
        out: Folder of the benchmark.
        plan: The runs.
        control: Name of the control, whose runs are calm.
    """
    patterns = {
        (ending, draw): pattern(out / ".patterns", ending, draw)
        for ending in ENDINGS
        for draw in range(DRAWS)
    }
    arms = list(dict.fromkeys(spec.arm for spec in plan))
    for spec in plan:
        ending = (
            "calm"
            if spec.arm == control
            else ENDINGS[(arms.index(spec.arm) + spec.seed // 7) % len(ENDINGS)]
        )
        folder = out / spec.folder
        shutil.copytree(patterns[ending, spec.seed % DRAWS], folder)
        fitness = (0.8 if ending != "dies" else 0.0) + 0.01 * math.sin(spec.seed)
        RunOutcome(
            digest=spec.digest,
            outcome="finished",
            metrics={METRICS[spec.task]: max(fitness, 0.0)},
            seconds={"startup": 3.0, "steps": 16.0, "total": 20.0},
            planned_steps=STEPS,
            gigabytes=0.5,
        ).write(folder)
    shutil.rmtree(out / ".patterns")


def pattern(root: Path, ending: str, draw: int) -> Path:
    """Write a run that ends in one way and return its folder."""
    records = noisy(STEPS, BLOCKS, seed=10 * draw + ENDINGS.index(ending))
    bad = (
        range(90, 96) if ending == "skips" else range(STEPS - 40, STEPS) if ending == "dies" else ()
    )
    for step in bad:
        records[step] = broken(records[step], skipped=ending == "skips")
    if ending == "spike":
        for step in (50, 51, 110):
            records[step] = scaled(records[step], 1e4)
    names = [block.block for block in records[0].blocks]
    return write(root / f"{ending}-{draw}", records, names=names, seed=draw)


def broken(record: StepRecord, *, skipped: bool) -> StepRecord:
    """Return a step whose loss and first block are NaN."""
    first, *others = record.blocks
    blocks = (replace(first, grad_norm=math.nan, nonfinite_count=9), *others)
    why = "guard" if skipped else None
    return replace(
        record, loss=math.nan, grad_norm=math.nan, nonfinite=9, skipped=why, blocks=blocks
    )


def scaled(record: StepRecord, factor: float) -> StepRecord:
    """Return a step with larger gradients and a larger loss."""
    blocks = tuple(replace(b, grad_norm=(b.grad_norm or 0.0) * factor) for b in record.blocks)
    return replace(
        record, loss=record.loss * 50, grad_norm=record.grad_norm * factor, blocks=blocks
    )


class Planned:
    """Listens for the moment at which all is known to be there; nothing may be run."""

    def __init__(self) -> None:
        self.at = math.nan

    def planned(self, specs: Sequence[RunSpec], done: int) -> None:
        """All of them must be there."""
        self.at = time.process_time()
        if done != len(specs):
            raise SystemExit(
                f"{len(specs) - done} of {len(specs)} runs are missing: they would be trained"
            )

    def started(self, spec: RunSpec) -> None:
        """Nothing starts."""

    def ended(self, spec: RunSpec, outcome: RunOutcome) -> None:
        """Nothing ends."""


class Recorded:
    """Gives back what runs had come to, in place of training them.

    Args:
        outcomes: Outcomes by folder.
    """

    def __init__(self, outcomes: Mapping[Path, RunOutcome]) -> None:
        self._outcomes = outcomes

    def run(
        self, missing: Sequence[RunSpec], out: Path, started: Callable[[RunSpec], None]
    ) -> Iterator[tuple[RunSpec, RunOutcome]]:
        """Yield the outcome of each run that is missing, written as a worker would."""
        for spec in missing:
            started(spec)
            self._outcomes[spec.folder].write(out / spec.folder)
            yield spec, self._outcomes[spec.folder]


class Nobody(Planned):
    """Listens to nothing."""

    def planned(self, specs: Sequence[RunSpec], done: int) -> None:
        """Runs may be missing."""


def go_on(out: Path, plan: Sequence[RunSpec]) -> float:
    """Let every other run be missing, as after a kill, and return the seconds until all are there again."""
    lost = {}
    for spec in plan[::2]:
        found = RunOutcome.read(out / spec.folder)
        assert found is not None
        lost[spec.folder] = found
        (out / spec.folder / OUTCOME).unlink()
    (_, ran), seconds = timed(lambda: run_missing(Recorded(lost), plan, out, Nobody()))
    assert len(ran) == len(lost)
    return seconds


def measure(out: Path, arms: int, seeds: int) -> dict[str, Any]:
    """Write the runs, ask for the benchmark again, and return what each part took.

    Args:
        out: A folder that is not there yet.
        arms: How many arms.
        seeds: How many seeds.
    """
    suite = make_suite(arms, seeds)
    make_plan(suite)  # whatever is read once
    plan, planning = timed(lambda: make_plan(suite))
    write_runs(out, plan, suite.control)
    write_plan(out)
    resuming = go_on(out, plan)
    listener = Planned()
    start = time.process_time()
    result = run_suite(suite, out, listener, make_executor("local", jobs=2), command="")
    assessed = time.process_time()
    _, reporting = timed(lambda: write_report(out))
    assert len(result.runs) == len(plan)
    return {
        "runs": len(plan),
        "arms": arms,
        "seeds": seeds,
        "plan": planning,
        "resume_half": resuming,
        "resume": listener.at - start,
        "assess": assessed - listener.at,
        "report": reporting,
        "html_mb": size(out / HTML),
        "results_mb": size(out / RESULTS_FILE),
        "series_mb": size(out / SERIES_FILE),
        "peak_gb": peak() / 1e9,
        "verdicts": dict(Counter(run.verdict for run in result.runs)),
    }


def write_plan(out: Path) -> None:
    """Leave a plan, by which the folder is known as that of a benchmark."""
    from yolo_stability.benchmarks.plan import PLAN, PLAN_VERSION

    (out / PLAN).write_text(json.dumps({"schema_version": PLAN_VERSION}), encoding="utf-8")


def size(path: Path) -> float:
    """Return the size of a file in MB."""
    return path.stat().st_size / 1e6


if __name__ == "__main__":
    np.seterr(all="ignore")
    print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
