"""Runs a frontier: checks the arguments, resolves the data, searches, draws."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from yolo_stability.benchmarks.executors import make_executor
from yolo_stability.benchmarks.plan import OUTCOME, RunOutcome
from yolo_stability.benchmarks.process.supervisor import PROGRESS
from yolo_stability.benchmarks.progress import SuiteProgress
from yolo_stability.core.command_line import typed_command
from yolo_stability.data.resolve import resolve_data
from yolo_stability.studies.frontier.figure import write_frontier_picture
from yolo_stability.studies.frontier.request import make_request
from yolo_stability.studies.frontier.result import FrontierResult
from yolo_stability.studies.frontier.search import find_edges

__all__ = ["run_frontier"]


def run_frontier(
    axis: str,
    *,
    out: str | Path | None = None,
    jobs: int = 1,
    executor: str = "local",
    address: str | None = None,
    **options: Any,
) -> FrontierResult:
    """Search the edge of stability and plot it; see `yolo_stability.frontier`."""
    request = make_request(axis, **options)
    place = make_executor(executor, jobs=jobs, address=address)
    folder = Path(out) if out is not None else Path("runs") / "frontier" / _name(request.axis)
    # resolved once here, so that parallel runs do not all create it
    resolve_data(str(request.recipe["data"]), request.task)
    try:
        result = find_edges(
            request,
            folder,
            place,
            lambda: SuiteProgress(folder, PROGRESS),
            command=typed_command("frontier"),
        )
    except KeyboardInterrupt:
        found = (RunOutcome.read(file.parent) for file in folder.rglob(OUTCOME))
        # killed runs are repeated
        done = sum(outcome is not None and outcome.is_final for outcome in found)
        print(
            f"{done} finished runs are kept in {folder}. Repeat the command to resume.",
            file=sys.stderr,
        )
        raise
    write_frontier_picture(result)
    return result


def _name(axis: str) -> str:
    return re.sub(r"\W+", "-", axis)
