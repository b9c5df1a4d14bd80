"""Reads the ended runs of a remedy matrix from a benchmark folder, over all sessions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import ValidationError

from yolo_stability.benchmarks.assessment import with_measures
from yolo_stability.benchmarks.fitness import fitness_of
from yolo_stability.benchmarks.plan import OUTCOME, PLAN, RunOutcome
from yolo_stability.benchmarks.results import RESULTS_FILE, read_results
from yolo_stability.benchmarks.rows import RunResultRow, unassessed_row
from yolo_stability.benchmarks.suite import Suite
from yolo_stability.core.errors import TraceError
from yolo_stability.core.types import RunHeader
from yolo_stability.trace import load_trace
from yolo_stability.trace.arrays import RunSeries, as_series

__all__ = ["Key", "MatrixRuns", "matrix_runs", "suite_of"]

Key = tuple[str, str, int]
"""Arm, task and seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRuns:
    """The runs of a matrix that have ended.

    Attributes:
        suite: The suite as last run.
        command: The command line of that run; empty from Python.
        runs: Runs that have ended, with verdict and fitness.
        stale: Number of runs in the folder with outdated settings, which are ignored.
        newest: Time at which the last run ended, ISO 8601; empty without runs.
    """

    suite: Suite
    command: str
    runs: Mapping[Key, RunResultRow]
    stale: int
    newest: str


def suite_of(folder: Path) -> Suite | None:
    """Return the suite last run in a folder; None if it has no causes and remedies.

    Args:
        folder: Benchmark folder.

    Raises:
        TraceError: The folder contains no benchmark, or one of another version.
    """
    try:
        plan = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        suite = Suite.model_validate(plan["suite"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError, ValidationError) as error:
        why = (
            ""
            if isinstance(error, FileNotFoundError)
            else f" that can be read ({' '.join(str(error).split())[:120]})"
        )
        raise TraceError(
            f"{folder} contains no {PLAN}{why}. Choose the folder of a benchmark."
        ) from None
    return suite if suite.causes and suite.remedies else None


def matrix_runs(folder: Path, suite: Suite) -> MatrixRuns:
    """Read the runs of a matrix.

    Args:
        folder: Benchmark folder; the benchmark may still be running.
        suite: Its suite, from `suite_of`.
    """
    found: dict[Key, tuple[RunResultRow, float]] = {}
    stale = 0
    for arm in suite.matrix_arms():
        for task in suite.tasks:
            for row, ended in _ended(folder, suite, arm, task):
                if row is None:
                    stale += 1
                else:
                    found[arm, task, row.seed] = row, ended
    known, command = _assessed(folder, {key: ended for key, (_, ended) in found.items()})
    rows = {key: known.get(key, row) for key, (row, _) in found.items()}
    newest = max((ended for _, ended in found.values()), default=None)
    return MatrixRuns(
        suite=suite,
        command=command,
        runs=_assess_missing(folder, suite, rows, set(known)),
        stale=stale,
        newest=""
        if newest is None
        else datetime.fromtimestamp(newest, UTC).isoformat(timespec="seconds"),
    )


def _ended(
    folder: Path, suite: Suite, arm: str, task: str
) -> Iterator[tuple[RunResultRow | None, float]]:
    """Yield the runs of an arm that have ended, with their time; None for outdated settings."""
    model = str(suite.settings(arm, task, 0)["model"])
    for file in sorted((folder / "runs" / arm / task / Path(model).stem).glob(f"*/{OUTCOME}")):
        outcome = RunOutcome.read(file.parent)
        try:
            spec = json.loads((file.parent / "spec.json").read_text(encoding="utf-8"))
            seed, settings, digest = int(spec["seed"]), spec["settings"], spec["digest"]
            ended = file.stat().st_mtime
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
        if outcome is None or outcome.digest != digest or not outcome.is_final:
            continue
        if settings != json.loads(json.dumps(suite.settings(arm, task, seed), default=str)):
            yield None, ended
            continue
        place = file.parent.relative_to(folder).as_posix()
        row = unassessed_row(arm, task, model, seed, outcome, error=outcome.error, folder=place)
        yield replace(row, fitness=fitness_of(row)), ended


def _assessed(folder: Path, ended: Mapping[Key, float]) -> tuple[dict[Key, RunResultRow], str]:
    """Return the runs already assessed in `results.json`, and the command that wrote it."""
    try:
        result, written = read_results(folder), (folder / RESULTS_FILE).stat().st_mtime
    except (TraceError, OSError):
        return {}, ""
    rows = {(row.arm, row.task, row.seed): row for row in result.runs}
    known = {key: row for key, row in rows.items() if key in ended and ended[key] <= written}
    return known, str(result.manifest.get("command") or "")


def _assess_missing(
    folder: Path, suite: Suite, rows: Mapping[Key, RunResultRow], known: set[Key]
) -> dict[Key, RunResultRow]:
    """Assess the remaining runs by comparison with all stable runs of the control."""
    done = {key: row for key, row in rows.items() if key in known}
    for task in suite.tasks:
        own = {key: row for key, row in rows.items() if key[1] == task}
        if set(own) <= known:
            continue
        controls: list[RunSeries] = []
        fitnesses: list[float] = []
        for key, row in own.items():
            if key[0] == suite.control:
                done[key], series = _assess(folder, row, None, None)
                if series is not None and done[key].verdict != "failed":
                    controls.append(series)
                    fitnesses += [
                        fitness for fitness in (done[key].fitness,) if fitness is not None
                    ]
        for key, row in own.items():
            if key not in done:
                done[key], _ = _assess(
                    folder, row, controls, fmean(fitnesses) if fitnesses else None
                )
    return done


def _assess(
    folder: Path, row: RunResultRow, controls: list[RunSeries] | None, fitness: float | None
) -> tuple[RunResultRow, RunSeries | None]:
    """Return a run with its verdict, and its trace as arrays."""
    series: RunSeries | None = None
    header: RunHeader | None = None
    try:
        trace: Any = load_trace(folder / row.folder)
        series, header = as_series(trace), trace.header
    except TraceError:
        pass  # without a trace, which the verdict reflects
    return with_measures(row, series, controls, fitness, header), series
