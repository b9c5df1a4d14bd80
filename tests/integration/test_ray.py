"""`executor=ray` gives the same results as `executor=local`; `make test-ray` installs Ray."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from yolo_stability.benchmarks.results import BenchmarkResult
from yolo_stability.studies.run_benchmark import run_benchmark

pytestmark = [
    pytest.mark.trains,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None,
        reason="Ray is not installed; make test-ray brings it",
    ),
]

TINY = {
    "imgsz": 64,
    "epochs": 2,
    "fraction": [32, 4],
    "cache": False,
    "arms": "huge-lr",
    "task": "detect",
}


def run(out: Path, **changed: Any) -> BenchmarkResult:
    return run_benchmark("demo", out=out, **{**TINY, **changed})[0]


def test_ray_computes_the_same(tmp_path: Path) -> None:
    local, ray = run(tmp_path / "local"), run(tmp_path / "ray", executor="ray", jobs=2)
    assert (
        [r.outcome for r in ray.runs] == [r.outcome for r in local.runs] == ["finished", "stopped"]
    )
    assert all(r.trace_digest for r in local.runs)
    assert [r.trace_digest for r in ray.runs] == [r.trace_digest for r in local.runs]
    assert [(r.verdict, r.why) for r in ray.runs] == [(r.verdict, r.why) for r in local.runs]
    assert all((tmp_path / "ray" / r.folder / "run.log").stat().st_size for r in ray.runs)


def test_what_ray_has_run_is_not_run_again_without_it(tmp_path: Path) -> None:
    first = run(tmp_path, executor="ray", arms="control", epochs=1)
    again = run(tmp_path, arms="control", epochs=1)
    assert again.totals["ran"] == 0
    assert [r.trace_digest for r in again.runs] == [r.trace_digest for r in first.runs]
