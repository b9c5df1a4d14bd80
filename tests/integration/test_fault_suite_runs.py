"""The fault suite in two sessions: trained, scored together, and faults located correctly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from yolo_stability.studies.fault_detection import FAULTS_JSON
from yolo_stability.studies.run_benchmark import run_benchmark

pytestmark = [pytest.mark.trains, pytest.mark.full]

STEP = 30
TINY = {"imgsz": 64, "epochs": 8, "fraction": [32, 4], "cache": False}  # 32 steps


def sitting(out: Path, **changed: Any) -> dict[str, Any]:
    run_benchmark(
        "faults",
        out=out,
        arms="healthy-sgd,fault-nan-grad-off",
        task="detect",
        seeds=1,
        **TINY,
        **changed,
    )
    content: dict[str, Any] = json.loads((out / FAULTS_JSON).read_text(encoding="utf-8"))
    return content


def test_both_sittings_are_scored_and_the_fault_is_found_where_it_struck(tmp_path: Path) -> None:
    first = sitting(tmp_path / "out")
    assert [half["models"] for half in first["halves"]] == [["yolov8n"]]
    both = sitting(tmp_path / "out", model="yolo26n.yaml")
    assert [half["models"] for half in both["halves"]] == [["yolov8n"], ["yolo26n"]]
    assert [(half["healthy"], half["faulty"]) for half in both["halves"]] == [(2, 1), (2, 1)]
    assert both["halves"][0] == first["halves"][0]
    for run in both["runs"]:
        if run["healthy"]:
            assert (run["first_bad"], run["effective"]) == (None, False)
            continue
        assert (run["onset"], run["first_bad"], run["effective"]) == (STEP, STEP, True)
        assert "non_finite" in run["critical"]
        assert run["verdict"] == "failed"
    assert (tmp_path / "out" / "faults.md").stat().st_size
    assert (tmp_path / "out" / "faults.png").stat().st_size
