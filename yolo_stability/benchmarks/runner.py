"""Runs a suite from plan to results; only missing runs are executed, all runs are assessed."""

from __future__ import annotations

import io
import json
import os
import platform
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from yolo_stability.benchmarks.assessment import assess
from yolo_stability.benchmarks.executors import Executor
from yolo_stability.benchmarks.folder import planned_trace_version, prepare_benchmark_folder
from yolo_stability.benchmarks.plan import PLAN, PLAN_VERSION, RunOutcome, RunSpec, run_digest
from yolo_stability.benchmarks.results import (
    RESULTS_FILE,
    SCHEMA_VERSION,
    SERIES_FILE,
    BenchmarkResult,
    results_to_json,
)
from yolo_stability.benchmarks.rows import Arm, RunResultRow, unassessed_row
from yolo_stability.benchmarks.suite import Limits, Suite
from yolo_stability.core.errors import TraceError, printable
from yolo_stability.core.files import replace_file
from yolo_stability.core.provenance import package_versions
from yolo_stability.core.types import Trace
from yolo_stability.interventions.plugin_versions import plugin_versions
from yolo_stability.trace import SCHEMA_VERSION as TRACE_VERSION
from yolo_stability.trace import load_trace, lock_folder, unlock_folder

if TYPE_CHECKING:
    import polars as pl

__all__ = ["DECIDING", "Listener", "make_plan", "run_missing", "run_suite", "write_results"]

DECIDING = ("python", "torch", "ultralytics", "yolo-stability", "numpy", "opencv-python")
"""Libraries whose versions influence the result of a run."""


class Listener(Protocol):
    """Receives notifications about the runs, for a progress display."""

    def planned(self, specs: Sequence[RunSpec], done: int) -> None:
        """Handle a new plan, of which `done` runs have already been executed."""

    def started(self, spec: RunSpec) -> None:
        """Handle the start of a run."""

    def ended(self, spec: RunSpec, outcome: RunOutcome) -> None:
        """Handle the end of a run."""


def make_plan(suite: Suite) -> tuple[RunSpec, ...]:
    """Return the runs of a suite, seed by seed.

    An interrupted benchmark therefore has complete comparisons for the first seeds.

    Args:
        suite: The suite.
    """
    versions = {k: v for k, v in package_versions().items() if k in DECIDING}
    specs = []
    for seed in range(suite.seeds):
        for task in suite.tasks:
            for arm in _control_first(suite):
                settings = suite.settings(arm, task, seed)
                specs.append(
                    plan_run(arm, task, seed, settings, limits=suite.limits, versions=versions)
                )
    return tuple(specs)


def plan_run(
    arm: str,
    task: str,
    seed: int,
    settings: Mapping[str, Any],
    *,
    limits: Limits,
    versions: Mapping[str, str],
) -> RunSpec:
    """Return the specification of one run, with a digest that determines whether to run it again.

    Args:
        arm: Name of the arm.
        task: detect or pose.
        seed: Random seed.
        settings: All settings of the run.
        limits: Limits of time, memory and zero-loss batches.
        versions: Versions of the packages that influence the result.
    """
    return RunSpec(
        arm=arm,
        task=task,
        model=str(settings["model"]),
        seed=seed,
        settings=settings,
        minutes=limits.minutes,
        gigabytes=limits.gigabytes,
        zero_loss_steps=limits.zero_loss_steps,
        digest=run_digest(
            settings,
            {"zero_loss_steps": limits.zero_loss_steps},
            {**versions, **plugin_versions(settings)},
        ),
        trace=TRACE_VERSION,
    )


def run_suite(
    suite: Suite, out: Path, listener: Listener, place: Executor, *, command: str
) -> BenchmarkResult:
    """Run the missing runs of a suite, assess all, and write `results.json` and `series.parquet`.

    Args:
        suite: The validated suite.
        out: Folder of the benchmark.
        listener: Notified of the progress.
        place: Executor of the runs.
        command: Command line of the user, for the manifest.

    Returns:
        The result of the benchmark.

    Raises:
        ConfigError: `out` cannot be used as a benchmark folder.
        StabilityError: Another benchmark is running in `out`.
    """
    plan = make_plan(suite)
    prepare_benchmark_folder(out)
    # losses of the two versions have different scales, so a benchmark keeps its version
    version = planned_trace_version(out) or TRACE_VERSION
    plan = tuple(replace(spec, trace=version) for spec in plan)
    if note := lock_folder(out, shown=out, option="out"):
        print(f"stability: {printable(note)}", file=sys.stderr)
    start = time.monotonic()
    try:
        text = json.dumps(_plan_json(suite, plan), indent=1, sort_keys=True, default=str) + "\n"
        replace_file(out / PLAN, text.encode())
        outcomes, ran = run_missing(place, plan, out, listener)
        times = _times(outcomes, ran, wall=time.monotonic() - start, jobs=place.jobs)
        result = _results(suite, plan, outcomes, out, command=command, times=times)
    finally:
        unlock_folder(out)
    return result


def run_missing(
    place: Executor, plan: Sequence[RunSpec], out: Path, listener: Listener
) -> tuple[dict[str, RunOutcome], list[RunOutcome]]:
    """Execute the runs without a final outcome.

    Args:
        place: Executor of the runs.
        plan: All planned runs.
        out: Folder of the benchmark.
        listener: Notified of the progress.

    Returns:
        The outcomes of all runs by folder, and those of the runs executed now.
    """
    outcomes = {}
    for spec in plan:
        found = RunOutcome.read(out / spec.folder)
        if found is not None and found.digest == spec.digest and found.is_final:
            outcomes[spec.place] = found
    missing = [spec for spec in plan if spec.place not in outcomes]
    listener.planned(plan, len(outcomes))
    ran = []
    for spec, outcome in place.run(missing, out, listener.started):
        outcomes[spec.place] = outcome
        ran.append(outcome)
        listener.ended(spec, outcome)
    return outcomes, ran


def _times(
    outcomes: Mapping[str, RunOutcome], ran: Sequence[RunOutcome], *, wall: float, jobs: int
) -> Mapping[str, Any]:
    """Return the durations of all runs, and of those executed now, to which wall time refers."""

    def total(part: str, of: Iterable[RunOutcome]) -> float:
        return round(sum(outcome.seconds.get(part, 0.0) for outcome in of), 1)

    starts = [outcome.seconds["startup"] for outcome in ran if "startup" in outcome.seconds]
    return {
        "jobs": jobs,
        "wall_seconds": round(wall, 1),
        "run_seconds": total("total", outcomes.values()),
        "step_seconds": total("steps", outcomes.values()),
        "startup_seconds": total("startup", outcomes.values()),
        "outcomes": dict(sorted(Counter(o.outcome for o in outcomes.values()).items())),
        "ran": len(ran),
        "step_seconds_ran": total("steps", ran),
        "startup_seconds_median": round(statistics.median(starts), 2) if starts else None,
    }


def _results(
    suite: Suite,
    plan: Sequence[RunSpec],
    outcomes: Mapping[str, RunOutcome],
    out: Path,
    *,
    command: str,
    times: Mapping[str, Any],
) -> BenchmarkResult:
    """Assess all runs and write the files that a report is built from."""
    arms = tuple(_arm(suite, name) for name in _control_first(suite))
    rows = [_row(spec, outcomes[spec.place]) for spec in plan]
    effective: dict[str, Mapping[str, Any]] = {}

    def load(row: RunResultRow) -> Trace | None:
        try:
            trace = load_trace(out / row.folder)
        except TraceError:
            return None
        effective[row.folder] = trace.header.effective
        return trace

    assessed = assess(arms, rows, load)
    result = BenchmarkResult(
        schema_version=SCHEMA_VERSION,
        suite=suite.name,
        description=suite.description,
        manifest=_manifest(suite, command),
        arms=arms,
        runs=tuple(
            replace(run, effective=_json_round_trip(effective.get(run.folder, {})))
            for run in assessed.runs
        ),
        comparisons=assessed.comparisons,
        totals=times,
    )
    write_results(out, result, assessed.series)
    return result


def _row(spec: RunSpec, outcome: RunOutcome) -> RunResultRow:
    """Return the row of a run with the facts known before its trace is read."""
    return unassessed_row(
        spec.arm,
        spec.task,
        spec.model,
        spec.seed,
        outcome,
        planned_steps=outcome.planned_steps,
        seconds=outcome.seconds,
        error=outcome.error,
        folder=spec.place,
    )


def _arm(suite: Suite, name: str) -> Arm:
    """Return an arm of the report."""
    scenario = suite.scenario(name)
    is_control = name == suite.control
    by_task = {
        f"{key} ({task})": v for task, keys in scenario.tasks.items() for key, v in keys.items()
    }
    return Arm(
        name=name,
        is_control=is_control,
        kind="control" if is_control else scenario.kind,
        claim=scenario.claim,
        expects=scenario.expects,
        overrides={} if is_control else {**scenario.overrides, **by_task},
    )


def _manifest(suite: Suite, command: str) -> dict[str, Any]:
    """Return the conditions of the benchmark."""
    return {
        "command": command,
        "suite": suite.model_dump(),
        "versions": package_versions(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads_per_run": 1,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _json_round_trip(value: Any) -> Any:
    """Return a value as it is after being written to and read from JSON."""
    return json.loads(json.dumps(value, default=str))


def _control_first(suite: Suite) -> list[str]:
    """Return the arms, the control first."""
    return [suite.control, *(arm for arm in suite.arms if arm != suite.control)]


def _plan_json(suite: Suite, plan: Sequence[RunSpec]) -> dict[str, Any]:
    """Return the plan as JSON values."""
    return {
        "schema_version": PLAN_VERSION,
        "suite": suite.model_dump(),
        "runs": [spec.to_json() for spec in plan],
    }


def write_results(out: Path, result: BenchmarkResult, series: pl.DataFrame) -> None:
    """Write the files that a report is built from, each atomically.

    Args:
        out: Folder of the benchmark.
        result: Content of `results.json`.
        series: Content of `series.parquet`.
    """
    rows = io.BytesIO()
    series.write_parquet(rows)
    replace_file(out / SERIES_FILE, rows.getvalue())
    replace_file(out / RESULTS_FILE, results_to_json(result).encode())
