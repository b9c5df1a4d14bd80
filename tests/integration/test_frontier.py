"""A tiny frontier with real runs: found, stopped early, resumed without running anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import pytest

from yolo_stability import frontier, load_trace

pytestmark = pytest.mark.trains

TINY: dict[str, Any] = {
    "optimizer": "SGD", "lr0": 0.01, "clip": "none", "start": 1.0, "end": 1e4, "resolution": 100.0,
    "fraction": [32, 4], "imgsz": 64, "epochs": 4, "cache": False,
}  # fmt: skip


@pytest.mark.full
def test_a_frontier_is_found_and_resumed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = frontier("lr_mult", out=out, **TINY)
    (edge,) = result.edges
    assert (edge.status, edge.highest_stable, edge.lowest_failing) == ("found", 1.0, 100.0)
    assert [p.value for p in result.points] == [1.0, 100.0, 10000.0]
    assert result.points[0].steps == 16
    for point in result.points[1:]:
        assert point.outcome == "stopped"
        assert point.steps < 16
        assert load_trace(out / point.folder).steps.height == point.steps
        assert point.onset_sign is not None
    assert json.loads((out / "frontier.json").read_text())["complete"] is True
    assert cv2.imread(str(out / "frontier.png")) is not None
    assert not list(out.rglob("*.pt"))
    stamps = {p: p.stat().st_mtime_ns for p in out.rglob("run.json")}
    again = frontier("lr_mult", out=out, **TINY)
    assert {p: p.stat().st_mtime_ns for p in out.rglob("run.json")} == stamps
    assert (again.points, again.edges) == (result.points, result.edges)
