"""Assess one long run and write its report, as a benchmark does; print the cost as JSON.

python million_report.py FOLDER, where FOLDER/run holds the trace
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolo_stability.benchmarks.assessment import assess
from yolo_stability.benchmarks.results import (
    RESULTS_FILE,
    SCHEMA_VERSION,
    SERIES_FILE,
    BenchmarkResult,
    results_to_json,
)
from yolo_stability.benchmarks.rows import Arm, RunResultRow
from yolo_stability.report.write import write_report
from yolo_stability.trace import load_trace


def measure(folder: Path) -> dict[str, Any]:
    """Return what it took to assess the run in `folder/run` and to write its report."""
    start, busy = time.monotonic(), time.process_time()
    arms = (
        Arm(name="control", is_control=True, kind="control", claim="", expects="", overrides={}),
    )
    row = RunResultRow(
        arm="control",
        task="detect",
        model="yolo26n.yaml",
        seed=0,
        outcome="finished",
        verdict="inconclusive",
    )
    assessed = assess(arms, [row], lambda _: load_trace(folder / "run"))
    between = time.monotonic()
    result = BenchmarkResult(
        schema_version=SCHEMA_VERSION,
        suite="million",
        description="",
        manifest={},
        arms=arms,
        runs=tuple(replace(run, folder="run") for run in assessed.runs),
        comparisons=assessed.comparisons,
    )
    assessed.series.write_parquet(folder / SERIES_FILE)
    (folder / RESULTS_FILE).write_text(results_to_json(result), encoding="utf-8")
    html = write_report(folder)[0]
    return {
        "assess": between - start,
        "render": time.monotonic() - between,
        "cpu": time.process_time() - busy,
        "gigabytes": peak() / 1e9,
        "html": html.stat().st_size,
        "steps": assessed.runs[0].steps,
        "peak_norm": assessed.runs[0].peak_norm,
        "median_norm": assessed.runs[0].median_norm,
    }


def peak() -> int:
    """Return the peak resident memory in bytes; a child inherits the ru_maxrss of its parent."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]))))
