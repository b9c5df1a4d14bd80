"""A suite from plan to results: what must run is run, what has run is not run again, all of it is assessed."""

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
from yolo_stability.benchmarks.folder import _prepare
from yolo_stability.benchmarks.plan import PLAN, RunOutcome, RunSpec, run_digest
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
from yolo_stability.trace import load_trace, lock_folder, unlock_folder

if TYPE_CHECKING:
    import polars as pl

__all__ = ["DECIDING", "Listener", "make_plan", "run_missing", "run_suite", "write_results"]

DECIDING = ("python", "torch", "ultralytics", "yolo-stability", "numpy", "opencv-python")
"""Libraries that decide what a run computes."""


class Listener(Protocol):
    """Told what happens, for a progress display."""

    def planned(self, specs: Sequence[RunSpec], done: int) -> None:
        """The plan is made; so many of its runs are there already."""

    def started(self, spec: RunSpec) -> None:
        """A run starts."""

    def ended(self, spec: RunSpec, outcome: RunOutcome) -> None:
        """A run has ended."""


def make_plan(suite: Suite) -> tuple[RunSpec, ...]:
    """Return the runs of a suite: seed by seed, so that an interrupted benchmark has whole comparisons.

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
    """Return the specification of one run, with the digest that says whether it must be run again.

    Args:
        arm: Name of the arm.
        task: detect or pose.
        seed: Its seed.
        settings: All keys of the run.
        limits: Time, memory and the steps of zero loss after which it is ended.
        versions: Versions of the packages that decide what a run computes.
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
    )


def run_suite(
    suite: Suite, out: Path, listener: Listener, place: Executor, *, command: str
) -> BenchmarkResult:
    """Run what is missing of a suite, assess everything and write `results.json` and `series.parquet`.

    Args:
        suite: The suite, checked.
        out: Folder of the benchmark.
        listener: Told what happens.
        place: Where the runs happen.
        command: What the user typed, for the manifest.

    Raises:
        ConfigError: `out` cannot be a benchmark folder.
        StabilityError: Another benchmark runs in that folder.
    """
    plan = make_plan(suite)
    _prepare(out)
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
    """Run what has no final outcome yet; return all outcomes by folder, and those of the runs that were run now."""
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
    """Return what all runs took, and what those took that were run now: wall time knows only of them."""

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
    """Assess all runs and write what a report is drawn from."""
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
    """Return what is known of a run before its trace is read."""
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
    """Return what a report says about an arm."""
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
    """Return everything that was fixed."""
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
    """Return a value as JSON would hold it."""
    return json.loads(json.dumps(value, default=str))


def _control_first(suite: Suite) -> list[str]:
    """Return the arms, the control first."""
    return [suite.control, *(arm for arm in suite.arms if arm != suite.control)]


def _plan_json(suite: Suite, plan: Sequence[RunSpec]) -> dict[str, Any]:
    """Return the plan as JSON values."""
    return {
        "schema_version": SCHEMA_VERSION,
        "suite": suite.model_dump(),
        "runs": [spec.to_json() for spec in plan],
    }


def write_results(out: Path, result: BenchmarkResult, series: pl.DataFrame) -> None:
    """Write what a report is drawn from, each file whole or not at all.

    Args:
        out: Folder of the benchmark.
        result: For `results.json`.
        series: For `series.parquet`.
    """
    rows = io.BytesIO()
    series.write_parquet(rows)
    replace_file(out / SERIES_FILE, rows.getvalue())
    replace_file(out / RESULTS_FILE, results_to_json(result).encode())
