"""`BenchmarkResult`, the content of `results.json`.

A report is built from `results.json` and `series.parquet` alone. Reading validates the schema
version and the types, and reports what is wrong with an edited or incomplete file.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo_stability.core.errors import TraceError
from yolo_stability.core.json_values import finite_json, us_causes

if TYPE_CHECKING:
    from pydantic import TypeAdapter

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from yolo_stability.benchmarks.rows import Arm, Comparison, RunResultRow
from yolo_stability.core import views
from yolo_stability.core.text import count, listing
from yolo_stability.core.types import AS_READ

__all__ = [
    "RESULTS_FILE",
    "SCHEMA_VERSION",
    "SERIES_FILE",
    "BenchmarkResult",
    "read_results",
    "results_to_json",
]

SCHEMA_VERSION = 2
_READABLE = (1, SCHEMA_VERSION)
"""Version 1 lacks what the models learned, and names two causes in British spelling."""
_LOST = ("killed", "timeout", "memory")
RESULTS_FILE, SERIES_FILE = "results.json", "series.parquet"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class BenchmarkResult:
    """Result of a benchmark or comparison.

    Attributes:
        schema_version: Version of the file format.
        suite: Name of the suite.
        description: Purpose of the suite, one sentence.
        manifest: Conditions of the runs: command, suite, versions, platform and threads.
        arms: All arms, the control first.
        runs: All runs, in the order of the plan.
        comparisons: Arms against the control, by task and model.
        totals: Wall time, step time and startup time in seconds, and the number of runs by outcome.
            `ran` is the number of runs executed in the latest session; `step_seconds_ran` and
            `startup_seconds_median` refer to these.
        folder: Folder of the file; not stored in it.

    Example:
        >>> result = BenchmarkResult(
        ...     schema_version=2, suite="demo", description="Does clipping help?", manifest={},
        ...     arms=(), runs=(), comparisons=(),
        ... )
        >>> result
        <BenchmarkResult 'demo': arms 0, runs 0, lost 0>
        >>> print(result)
        demo: Does clipping help?
    """

    __pydantic_config__ = AS_READ
    schema_version: int
    suite: str
    description: str
    manifest: Mapping[str, Any]
    arms: tuple[Arm, ...]
    runs: tuple[RunResultRow, ...]
    comparisons: tuple[Comparison, ...]
    totals: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = field(default=None, compare=False)

    @property
    def lost(self) -> tuple[RunResultRow, ...]:
        """Runs without a usable result: ended from outside, or crashed before their first step."""
        return tuple(
            run
            for run in self.runs
            if run.outcome in _LOST or (run.outcome == "crashed" and not run.steps)
        )

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        content: dict[str, Any] = json.loads(results_to_json(self))
        return {**content, "folder": str(self.folder) if self.folder else None}

    def lines(self) -> list[str]:
        """Return the terminal output: arms, lost runs, times and the path of the report."""
        compared = [f"- {comparison.sentence}" for comparison in self.comparisons]
        lost = [
            f"- lost: {run.arm}, {run.task}, seed {run.seed}: {run.outcome}, {run.error}"
            for run in self.lost
        ]
        report = [f"report: {self.folder / 'report.html'}"] if self.folder else []
        return [*self._runs_compared(), *compared, *lost, *self._times(), *report]

    def _runs_compared(self) -> list[str]:
        """Return verdicts and differing settings of given runs; empty for a suite."""
        differs = self.manifest.get("differs")
        if not isinstance(differs, Mapping):
            return []
        lines = []
        for run in self.runs:
            lines.append(f"- {run.arm}: {run.verdict}: {run.why}")
            settings = differs.get(run.arm) or {}
            changes = [f"{k}={v['here']} ({v['control']})" for k, v in settings.items()]
            if changes:
                lines.append(f"  settings that differ from the control: {', '.join(changes)}")
        return lines

    def __repr__(self) -> str:
        counts = f"arms {len(self.arms)}, runs {len(self.runs)}, lost {len(self.lost)}"
        return f"<BenchmarkResult '{self.suite}': {counts}>"

    def __str__(self) -> str:
        return "\n".join([f"{self.suite}: {self.description}", *self.lines()])

    def _repr_html_(self) -> str:
        """Return the result as HTML for notebooks."""
        return views.html(self)

    def _times(self) -> list[str]:
        """Return the cost of the runs in two lines; empty if no run was executed."""
        total = self.totals
        wall, ran, jobs = (total.get(key, 0) for key in ("wall_seconds", "ran", "jobs"))
        if not (wall and ran and jobs):
            return []
        steps, start = total.get("step_seconds_ran", 0.0), total.get("startup_seconds_median")
        median = f"; startup {start:.1f} s per run (median)" if start is not None else ""
        pace = f"{jobs} in parallel" if jobs > 1 else "one at a time"
        share = (
            f"{steps / (jobs * wall):.0%} of {jobs} x {wall:.0f} s"
            if jobs > 1
            else f"{steps / wall:.0%} of the total"
        )
        return [
            f"time: {wall:.0f} s for {count(ran, 'run')}, {pace}{median}",
            f"step loops: {steps:.0f} s, {share}; the rest is startup and validation",
        ]


def results_to_json(result: BenchmarkResult) -> str:
    """Return a result as deterministic JSON without NaN and Inf."""
    content = {k: v for k, v in asdict(result).items() if k != "folder"}
    return (
        json.dumps(
            finite_json(content), indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False
        )
        + "\n"
    )


def read_results(path: Path) -> BenchmarkResult:
    """Read `results.json`.

    Args:
        path: Path of the file or of the benchmark folder.

    Raises:
        TraceError: The file is missing, invalid, or has another schema version.
    """
    file = path / RESULTS_FILE if path.is_dir() else path
    try:
        content = json.loads(
            file.read_text(encoding="utf-8"), parse_constant=_no_number, parse_float=_number
        )
    except FileNotFoundError:
        raise TraceError(
            f"{path} contains no {RESULTS_FILE}: the benchmark is not complete; "
            "run it again to resume it."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise TraceError(
            f"{file} cannot be read ({error}); run the benchmark again to rewrite it."
        ) from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version not in _READABLE:
        raise TraceError(
            f"{file} has schema version {version}; "
            f"this version of the package reads {listing(map(str, _READABLE))}."
        )
    from pydantic import ValidationError

    try:
        result = _shape().validate_python(us_causes(content))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise TraceError(
            f"{file} is not a valid result ({why}); run the benchmark again to rewrite it."
        ) from None
    return replace(result, schema_version=SCHEMA_VERSION, folder=file.parent)


@cache
def _shape() -> TypeAdapter[BenchmarkResult]:
    """Return the validator of results, cached because creating it takes longer than using it."""
    from pydantic import TypeAdapter

    return TypeAdapter(BenchmarkResult)


def _number(text: str) -> float:
    """Parse a number; reject one that is not finite, such as 1e999."""
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)


def _no_number(text: str) -> float:
    """Reject a number that is not finite."""
    raise ValueError(f"{text[:20]} is not a finite number")
