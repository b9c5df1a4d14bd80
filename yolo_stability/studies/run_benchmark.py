"""Runs a suite, computes its scores, and returns its result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yolo_stability.benchmarks.executors import make_executor
from yolo_stability.benchmarks.process.supervisor import PROGRESS
from yolo_stability.benchmarks.progress import SuiteProgress
from yolo_stability.benchmarks.request import checked_suite
from yolo_stability.benchmarks.results import BenchmarkResult
from yolo_stability.benchmarks.runner import run_suite
from yolo_stability.benchmarks.suite import load_suite
from yolo_stability.core.command_line import typed_command
from yolo_stability.studies.fault_detection import score_labeled
from yolo_stability.studies.remedy_matrix import score_matrix
from yolo_stability.studies.rescue_rate.score import write_rescues

__all__ = ["run_benchmark"]


def run_benchmark(  # noqa: PLR0913 - each is a key of the command line
    suite: str,
    *,
    out: str | Path | None = None,
    jobs: int = 1,
    seeds: int | None = None,
    arms: str | Sequence[str] | None = None,
    executor: str = "local",
    address: str | None = None,
    model: str | None = None,
    data: str | None = None,
    task: str | None = None,
    **overrides: Any,
) -> tuple[BenchmarkResult, Path]:
    """Run a suite and return its result and its folder; see `yolo_stability.benchmark`."""
    chosen = checked_suite(
        load_suite(suite),
        seeds=seeds,
        arms=arms,
        model=model,
        data=data,
        task=task,
        overrides=overrides,
    )
    place = make_executor(executor, jobs=jobs, address=address)
    folder = Path(out) if out is not None else Path("runs") / "benchmark" / chosen.name
    command = typed_command("benchmark")
    with SuiteProgress(folder, PROGRESS) as progress:
        result = run_suite(chosen, folder, progress, place, command=command)
    score_labeled(folder, chosen.arms, chosen.control)
    score_matrix(folder)
    write_rescues(folder, result)
    return result, folder
