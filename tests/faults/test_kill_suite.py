"""kill -9 of a benchmark: finished runs are not repeated, and the results are the same."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
import yaml
from plan import SEED, SUITE_KILLS
from process import HERE, MODELS, environment

from yolo_stability.benchmarks.results import read_results

pytestmark = [pytest.mark.trains, pytest.mark.full]
SETTINGS = {
    **{
        "imgsz": 32,
        "batch": 4,
        "nbs": 4,
        "epochs": 2,
        "fraction": [16, 2],
        "cache": False,
        "optimizer": "SGD",
    },
    **{"lr0": 0.001, "workers": 0, "device": "cpu", "incidents": 0},
}


def write_suite(folder: Path) -> Path:
    """Write a suite of three short runs of a small model."""
    path = folder / "small-suite.yaml"
    content = {
        **{
            "name": "small",
            "control": "control",
            "arms": ["control", "huge-lr", "no-norm"],
            "tasks": ["detect"],
        },
        **{"models": {"detect": MODELS["detect"]}, "overrides": SETTINGS},
    }
    path.write_text(yaml.safe_dump(content))
    return path


def told(out: Path) -> list[Any]:
    """Return what the results say of each run, without what time it took."""
    result = read_results(out)
    runs = [
        (r.arm, r.outcome, r.verdict, r.trace_digest, r.fitness, r.steps, r.cause)
        for r in result.runs
    ]
    return [runs, [astuple(c) for c in result.comparisons]]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="runs are forked")
@pytest.mark.timeout(1800)
def test_a_suite_that_is_killed_again_and_again(tmp_path: Path) -> None:
    suite = write_suite(tmp_path)
    command = [
        sys.executable,
        str(HERE / "suitekiller.py"),
        str(tmp_path),
        str(suite),
        str(SUITE_KILLS),
        str(SEED),
    ]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=False, env=environment()
    )
    said = "".join(p.read_text() for p in tmp_path.glob("*.txt"))
    assert done.returncode == 0, said[-3000:]
    sittings = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert sum(s["killed"] for s in sittings) == SUITE_KILLS
    assert all(s["killed"] or s["code"] == 0 for s in sittings), said[-3000:]
    kept = sum(len(s["before"]) for s in sittings)
    for sitting in sittings:  # what was final is neither lost nor run again
        assert {name: sitting["after"].get(name) for name in sitting["before"]} == sitting["before"]
    folders = sorted({s["folder"] for s in sittings} - {"whole"})
    whole = told(tmp_path / "whole")
    assert len(whole[0]) == 3
    for folder in folders:
        assert told(tmp_path / folder) == whole
    assert not any(s["alive"] for s in sittings)
    print(
        f"\n{SUITE_KILLS} kills (seed {SEED}) of {len(folders)} benchmarks of 3 runs; finished "
        f"runs met again {kept}"
    )
    print(
        f"times, none lost, none run again; workers outlived it "
        f"{max(s['outlived'] for s in sittings):.1f} s at most"
    )
