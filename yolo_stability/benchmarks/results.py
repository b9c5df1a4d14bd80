"""The result of a benchmark: what `results.json` holds.

`results.json` and `series.parquet` are all that a report is drawn from. Reading checks the schema version and says
what is wrong with a file that somebody edited or that is half written.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo_stability.core.errors import TraceError
from yolo_stability.core.json_values import finite_json

if TYPE_CHECKING:
    from pydantic import TypeAdapter

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from yolo_stability.benchmarks.rows import Arm, Comparison, RunResultRow
from yolo_stability.core import views
from yolo_stability.core.text import count
from yolo_stability.core.types import AS_READ

__all__ = [
    "RESULTS_FILE",
    "SCHEMA_VERSION",
    "SERIES_FILE",
    "BenchmarkResult",
    "read_results",
    "results_to_json",
]

SCHEMA_VERSION = 1
_LOST = ("killed", "timeout", "memory")
RESULTS_FILE, SERIES_FILE = "results.json", "series.parquet"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class BenchmarkResult:
    """Everything a report says.

    Attributes:
        schema_version: Of this file.
        suite: Name of the suite.
        description: What it asks, in one sentence.
        manifest: Everything that was fixed: versions, device, data digests, command, threads.
        arms: All arms, control first.
        runs: All runs, in the order of the plan.
        comparisons: Arms against control by task and model.
        totals: Seconds of wall time, of step loops, of start-up; runs by outcome. `ran` counts the runs that were run
            this time, the others were there already; `step_seconds_ran` and `startup_seconds_median` are of them.
        folder: Where it was read from or written to; not part of the file.
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
        """Runs that say nothing about their arm: ended from outside, or dead before their first step."""
        return tuple(
            run
            for run in self.runs
            if run.outcome in _LOST or (run.outcome == "crashed" and not run.steps)
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        content: dict[str, Any] = json.loads(results_to_json(self))
        return {**content, "folder": str(self.folder) if self.folder else None}

    def lines(self) -> list[str]:
        """Return what a terminal shows of it: a sentence an arm, and where the report is."""
        found = [f"- {comparison.sentence}" for comparison in self.comparisons]
        told = [
            f"- lost: {run.arm}, {run.task}, seed {run.seed}: {run.outcome}, {run.error}"
            for run in self.lost
        ]
        report = [f"report: {self.folder / 'report.html'}"] if self.folder else []
        return [*found, *told, *self._times(), *report]

    def __repr__(self) -> str:
        counts = f"arms {len(self.arms)}, runs {len(self.runs)}, lost {len(self.lost)}"
        return f"<BenchmarkResult '{self.suite}': {counts}>"

    def __str__(self) -> str:
        return "\n".join([f"{self.suite}: {self.description}", *self.lines()])

    def _repr_html_(self) -> str:
        """Show the result in a notebook."""
        return views.html(self)

    def _times(self) -> list[str]:
        """Return what the runs cost beyond their steps, in two lines; none where nothing was run."""
        total = self.totals
        wall, ran, jobs = (total.get(key, 0) for key in ("wall_seconds", "ran", "jobs"))
        if not (wall and ran and jobs):
            return []
        steps, start = total.get("step_seconds_ran", 0.0), total.get("startup_seconds_median")
        median = f"; start-up {start:.1f} s a run (median)" if start is not None else ""
        share = (
            f"{steps / (jobs * wall):.0%} of {jobs} x {wall:.0f} s"
            if jobs > 1
            else f"{steps / wall:.0%} of that"
        )
        return [
            f"time: {wall:.0f} s for {count(ran, 'run')}, {jobs} at once{median}",
            f"step loops: {steps:.0f} s, {share}; the rest: start-up, validation",
        ]


def results_to_json(result: BenchmarkResult) -> str:
    """Return a result as JSON: same result, same bytes; no NaN and no Inf."""
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
        path: The file, or the benchmark folder.

    Raises:
        TraceError: It is not there, not whole, or of another schema version.
    """
    file = path / RESULTS_FILE if path.is_dir() else path
    try:
        content = json.loads(
            file.read_text(encoding="utf-8"), parse_constant=_no_number, parse_float=_number
        )
    except FileNotFoundError:
        raise TraceError(
            f"{path} holds no {RESULTS_FILE}: the benchmark has not ended; run it again, it resumes."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise TraceError(
            f"{file} cannot be read ({error}); run the benchmark again to write it anew."
        ) from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise TraceError(
            f"{file} has schema version {version}; this version of the package reads {SCHEMA_VERSION}."
        )
    from pydantic import ValidationError

    try:
        result = _shape().validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise TraceError(
            f"{file} is not a whole result ({why}); run the benchmark again to write it anew."
        ) from None
    return replace(result, folder=file.parent)


@cache
def _shape() -> TypeAdapter[BenchmarkResult]:
    """Return what checks the types of a result; making it takes longer than a check."""
    from pydantic import TypeAdapter

    return TypeAdapter(BenchmarkResult)


def _number(text: str) -> float:
    """Read a number; one that is not finite, such as 1e999, is none."""
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)


def _no_number(text: str) -> float:
    raise ValueError(f"{text[:20]} is no number that a result holds")
