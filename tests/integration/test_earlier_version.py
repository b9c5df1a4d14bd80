"""Folders that an earlier version has left are read, diagnosed, replayed, verified and resumed.

They were made at commit 910bbb8, by its command line, from `tiny.yaml`; `expected.json` holds what
that version said of them. Only the command line and the public names are used here, which is all
that a user's folders depend on.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

import yolo_stability

pytestmark = pytest.mark.trains

EARLIER = Path(__file__).resolve().parents[1] / "golden" / "earlier"
EXPECTED = json.loads((EARLIER / "expected.json").read_text(encoding="utf-8"))
COMPUTING = ("torch", "numpy", "ultralytics", "opencv-python")
KEYS = (
    *("suite=demo", "arms=huge-lr", "task=detect", "model=tiny.yaml", "imgsz=32", "batch=4"),
    *("nbs=4", "fraction=[16,4]", "epochs=2", "cache=False"),
)


@pytest.fixture(autouse=True)
def _copied(_in_own_folder: None, tmp_path: Path) -> None:
    """Work on copies, and where `tiny.yaml` is found: a plan names its model by a relative path."""
    shutil.copytree(EARLIER, tmp_path, dirs_exist_ok=True)


def command(*args: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, as users do."""
    line = [sys.executable, "-m", "yolo_stability", *args]
    return subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)


def is_same_environment() -> bool:
    """Tell whether libraries and processor are those of the recorded runs: rounding differs."""
    versions = json.loads(Path("benchmark/results.json").read_text(encoding="utf-8"))["manifest"][
        "versions"
    ]
    now = {name: version(name) for name in COMPUTING} | {"python": platform.python_version()}
    return all(versions[name] == now[name] for name in now) and processor() == EXPECTED["processor"]


def processor() -> dict[str, str]:
    """Return what decides which kernels torch takes; empty where Linux does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return {}
    told = {
        name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    flags = hashlib.sha256(" ".join(sorted(told.pop("flags", "").split())).encode()).hexdigest()[
        :16
    ]
    kept = {
        name: told.get(name, "")
        for name in ("vendor_id", "cpu family", "model", "stepping", "cache size")
    }
    return {**kept, "flags": flags, "kernels": torch.backends.cpu.get_cpu_capability()}


def facts(findings: Any) -> list[tuple[Any, ...]]:
    """Return what a program reads of findings; their words may become better ones."""
    names = ("rule", "severity", "block", "first_step", "last_step", "observed")
    return [tuple(found[name] for name in names) for found in findings]


@pytest.mark.smoke
def test_a_run_is_read_as_it_was_written() -> None:
    trace = yolo_stability.load_trace("run")
    asked = EXPECTED["run"]
    assert (trace.steps.height, trace.blocks.height) == (asked["steps"], asked["blocks"])
    assert trace.steps.columns == asked["columns"]
    assert [block.name for block in trace.header.blocks] == asked["names"]
    assert trace.events["kind"].to_list() == asked["events"]
    compared = yolo_stability.compare("run", "interrupted", out="compared")
    assert [row.trace_digest for row in compared.runs] == asked["digests"]


@pytest.mark.smoke
def test_a_run_has_the_findings_and_causes_of_before() -> None:
    """Verdicts of schema 1 counted warnings; a run of that version is judged as one of today."""
    before = json.loads(Path("run/stability/diagnosis.json").read_text(encoding="utf-8"))
    found = yolo_stability.diagnose("run")
    after = json.loads(Path("run/stability/diagnosis.json").read_text(encoding="utf-8"))
    assert after.keys() > before.keys()
    assert (found.cause, found.run_id) == (before["cause"], before["run_id"])
    assert (before["verdict"], found.verdict, found.learning) == (
        "unstable",
        "inconclusive",
        "too_early",
    )
    scores = {cause["name"]: cause["score"] for cause in before["causes"]}
    assert {cause.name: cause.score for cause in found.causes} == pytest.approx(scores)
    # the block is now the one of the run's own incident, not the one with the largest gradient
    assert after["findings"][0]["block"] == "model.0 Conv"
    after["findings"][0]["block"] = before["findings"][0]["block"]
    assert facts(after["findings"]) == facts(before["findings"])


def test_an_incident_comes_again() -> None:
    # Packed, as half of it is: tensors of a batch, weights and the random state.
    shutil.unpack_archive("incident.zip", "run/stability/incidents")
    done = command("diagnose", "run/stability/incidents/step-000005", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["reproduced"] is True
    assert facts(said["findings"]) == [tuple(row) for row in EXPECTED["incident"]]


@pytest.mark.smoke
def test_the_report_of_a_benchmark_is_drawn_again() -> None:
    before = json.loads(Path("benchmark/results.json").read_text(encoding="utf-8"))
    result = yolo_stability.compare("benchmark")
    assert result.folder == Path("benchmark")
    rows = [
        (row["arm"], row["outcome"], row["verdict"], row["cause"], row["trace_digest"])
        for row in before["runs"]
    ]
    assert [(r.arm, r.outcome, r.verdict, r.cause, r.trace_digest) for r in result.runs] == rows
    assert "huge-lr" in Path("benchmark/report.md").read_text(encoding="utf-8")
    assert Path("benchmark/report.html").is_file()


def test_a_benchmark_is_verified() -> None:
    done = command("verify", "benchmark", "--json")
    assert done.returncode in {0, 3}, done.stderr
    said = json.loads(done.stdout)
    assert [check["run"] for check in said["checks"]] == [
        "control, detect, seed 0",
        "huge-lr, detect, seed 0",
    ]
    assert (
        said["identical"]
        == all(check["identical"] for check in said["checks"])
        == (done.returncode == 0)
    )
    for check in said["checks"]:  # it was run again, whatever came out
        assert check["text"].startswith(
            "identical (8 steps)" if check["identical"] else "different: "
        )
    if is_same_environment():
        assert said["identical"], said


def test_a_benchmark_goes_on_where_it_was() -> None:
    """A run that is there with the same settings and versions is not run again; a lost one is."""
    before = json.loads(Path("benchmark/results.json").read_text(encoding="utf-8"))
    plan = {
        run["arm"]: run
        for run in json.loads(Path("benchmark/plan.json").read_text(encoding="utf-8"))["runs"]
    }
    Path("benchmark/runs/huge-lr/detect/tiny/0/run.json").unlink()
    done = command("benchmark", *KEYS, "out=benchmark", "--json")
    assert done.returncode == 0, done.stderr
    after = json.loads(done.stdout)
    now = {
        run["arm"]: run
        for run in json.loads(Path("benchmark/plan.json").read_text(encoding="utf-8"))["runs"]
    }
    assert {arm: run["settings"] for arm, run in now.items()} == {
        arm: run["settings"] for arm, run in plan.items()
    }
    versions = [content["manifest"]["versions"] for content in (before, after)]
    deciding = ("python", "yolo-stability", *COMPUTING)
    is_same = all(versions[0][name] == versions[1][name] for name in deciding)
    assert after["totals"]["ran"] == (1 if is_same else 2)
    if is_same:
        assert {arm: run["digest"] for arm, run in now.items()} == {
            arm: run["digest"] for arm, run in plan.items()
        }
        assert after["runs"][0]["trace_digest"] == before["runs"][0]["trace_digest"]
    if is_same_environment():
        assert [r["trace_digest"] for r in after["runs"]] == [
            r["trace_digest"] for r in before["runs"]
        ]


def test_an_interrupted_run_is_resumed_to_its_end() -> None:
    """Killed in its third epoch of four; `data=` and `save_dir=` are named since it was moved."""
    first = yolo_stability.load_trace("interrupted")
    kept = Path("interrupted/yolo_stability.yaml").read_text(encoding="utf-8")
    assert set(first.steps["attempt"]) == {0}
    result = yolo_stability.train(
        model="interrupted/weights/last.pt", resume=True, data="shapes", save_dir="interrupted"
    )
    assert result.stopped is None
    assert result.save_dir.resolve() == Path("interrupted").resolve()
    steps = result.trace.steps
    done = first.steps.height
    assert steps["step"].to_list() == list(range(done + 8))
    assert steps["attempt"].to_list() == [0] * done + [1] * 8
    assert steps["epoch"].to_list()[done:] == [2] * 4 + [3] * 4
    assert steps["loss"].to_list()[:done] == first.steps["loss"].to_list()
    assert result.trace.events["kind"].to_list() == ["resume", "end"]
    assert (result.trace.header.run_id, result.trace.header.requested) == (
        first.header.run_id,
        first.header.requested,
    )
    assert result.trace.header.effective["clip"] == "agc:0.01"
    asked = json.loads(result.trace.events["data"][0])["settings"]
    assert (asked["guard_limit"], asked["watch_every"]) == (5, 2)
    assert set(kept.splitlines()) <= set(
        Path("interrupted/yolo_stability.yaml").read_text().splitlines()
    )
