"""A benchmark from suite to results: really trained, interrupted, resumed, and limited."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
import yaml
from training import MODELS

from yolo_stability.benchmarks.compare import compare_runs
from yolo_stability.benchmarks.results import BenchmarkResult, read_results
from yolo_stability.benchmarks.verify import verify_benchmark
from yolo_stability.core.errors import StabilityError
from yolo_stability.data.resolve import resolve_data
from yolo_stability.studies.run_benchmark import run_benchmark

pytestmark = [pytest.mark.trains, pytest.mark.smoke]

TINY = {"imgsz": 64, "epochs": 2, "fraction": [32, 4], "cache": False}
SUITE = {
    "schema_version": 1,
    "name": "tiny",
    "control": "control",
    "arms": ["control", "huge-lr", "no-norm"],
    "tasks": ["detect"],
    "models": {"detect": MODELS["detect"]},
}


def suite() -> str:
    """Return the path of a suite with a model of eight layers."""
    path = Path(os.environ["YOLO_STABILITY_TEST_ROOT"]) / "tiny-suite.yaml"
    path.write_text(yaml.safe_dump(SUITE))
    return str(path)


def tiny(out: Path, **changed: Any) -> BenchmarkResult:
    """Run a suite of two arms on detection, 8 steps a run."""
    chosen = {"arms": "huge-lr,no-norm", "task": "detect", **TINY, **changed}
    result, folder = run_benchmark(suite(), out=out, **chosen)
    assert folder == out
    return result


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BenchmarkResult]:
    out = tmp_path_factory.mktemp("benchmark") / "out"
    return out, tiny(out)


def test_every_run_has_an_outcome_and_a_digest(benchmark: tuple[Path, BenchmarkResult]) -> None:
    out, result = benchmark
    assert result.runs[0].outcome == "finished"
    assert [r.arm for r in result.runs] == ["control", "huge-lr", "no-norm"]
    assert all(r.trace_digest and r.steps for r in result.runs)
    assert all((out / r.folder / "run.log").stat().st_size for r in result.runs)
    assert all(r.effective["torch_threads"] == 1 for r in result.runs)
    assert result.runs[1].verdict == "failed"
    assert not result.lost
    assert read_results(out) == result
    assert {c.arm for c in result.comparisons} == {"huge-lr", "no-norm"}
    assert all(c.anecdotal for c in result.comparisons)


def test_the_terminal_ends_with_what_it_cost(benchmark: tuple[Path, BenchmarkResult]) -> None:
    _, result = benchmark
    totals, starts = result.totals, sorted(r.seconds["startup"] for r in result.runs)
    assert totals["ran"] == 3
    assert totals["startup_seconds_median"] == pytest.approx(starts[1], abs=0.01)
    assert 0 < totals["step_seconds_ran"] == totals["step_seconds"] < totals["wall_seconds"]
    assert [line.partition(":")[0] for line in result.lines()[-2:]] == ["time", "step loops"]


def test_the_same_again_runs_nothing_and_writes_the_same(
    benchmark: tuple[Path, BenchmarkResult],
) -> None:
    out, first = benchmark
    stamps = {p: p.stat().st_mtime_ns for p in out.rglob("run.json")}
    again = tiny(out)
    assert {p: p.stat().st_mtime_ns for p in out.rglob("run.json")} == stamps
    assert again.runs == first.runs
    assert again.totals["ran"] == 0
    assert not any(line.startswith("time:") for line in again.lines())
    assert again.comparisons == first.comparisons


@pytest.mark.full
def test_jobs_at_once_compute_the_same(
    benchmark: tuple[Path, BenchmarkResult], tmp_path: Path
) -> None:
    together = tiny(tmp_path / "out", jobs=3)
    assert [r.trace_digest for r in together.runs] == [r.trace_digest for r in benchmark[1].runs]
    assert [r.fitness for r in together.runs] == [r.fitness for r in benchmark[1].runs]


@pytest.mark.full
def test_another_seed_or_setting_is_another_digest(
    benchmark: tuple[Path, BenchmarkResult], tmp_path: Path
) -> None:
    other = tiny(tmp_path / "out", arms="control", lr0=0.006)
    assert other.runs[0].trace_digest != benchmark[1].runs[0].trace_digest


def test_a_changed_suite_runs_only_what_is_new(benchmark: tuple[Path, BenchmarkResult]) -> None:
    out, first = benchmark
    wider = tiny(out, arms="huge-lr,no-norm,group-norm")
    assert [r.trace_digest for r in wider.runs[:3]] == [r.trace_digest for r in first.runs]
    assert wider.runs[3].arm == "group-norm"
    assert sum(wider.totals["outcomes"].values()) == 4


@pytest.mark.full
def test_a_killed_benchmark_goes_on_where_it_was(
    benchmark: tuple[Path, BenchmarkResult], tmp_path: Path
) -> None:
    """`kill -9` during the second run: the first is kept, the second starts from zero again."""
    out = tmp_path / "out"
    code = (
        "from yolo_stability.studies.run_benchmark import run_benchmark as r; "
        f"r({suite()!r}, out={str(out)!r}, arms='huge-lr,no-norm', task='detect', **{TINY!r})"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    first = out / "runs" / "control" / "detect" / "tiny" / "0" / "run.json"
    second = out / "runs" / "huge-lr" / "detect" / "tiny" / "0" / "spec.json"
    deadline = time.monotonic() + 120
    while not (first.exists() and second.exists()):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    process.kill()
    process.wait()
    stamp = first.stat().st_mtime_ns
    result = tiny(out)
    assert first.stat().st_mtime_ns == stamp
    assert [r.trace_digest for r in result.runs] == [r.trace_digest for r in benchmark[1].runs]


@pytest.mark.full
def test_a_worker_that_is_killed_takes_no_other_along(tmp_path: Path) -> None:
    """The first run is killed from outside once it trains; the benchmark says so and goes on."""
    out = tmp_path / "out"
    code = (
        "from yolo_stability.studies.run_benchmark import run_benchmark as r; "
        f"r({suite()!r}, out={str(out)!r}, arms='huge-lr', task='detect', **{TINY!r})"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    claim = out / "runs" / "control" / "detect" / "tiny" / "0" / "stability" / "running.json"
    deadline = time.monotonic() + 120
    while not claim.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(json.loads(claim.read_text())["pid"], signal.SIGKILL)
    assert process.wait(180) == 0
    result = read_results(out)
    assert result.runs[0].outcome == "crashed"
    assert result.runs[1].outcome in {"finished", "stopped"}
    assert "signal 9" in str(result.runs[0].error)
    # by its own trace: there is no control to compare it with
    assert result.runs[1].verdict == "failed"


@pytest.mark.full
def test_a_worker_that_hangs_is_ended_and_the_others_finish(tmp_path: Path) -> None:
    """The first run is stopped with SIGSTOP, ignores SIGTERM, and is ended by its time limit."""
    suite, out = tmp_path / "small.yaml", tmp_path / "out"
    limited = {**SUITE, "arms": ["control", "no-norm"], "limits": {"minutes": 1}}
    suite.write_text(yaml.safe_dump(limited))
    code = (
        "from yolo_stability.studies.run_benchmark import run_benchmark as r; "
        f"r({str(suite)!r}, out={str(out)!r}, task='detect', **{TINY!r})"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    claim = out / "runs" / "control" / "detect" / "tiny" / "0" / "stability" / "running.json"
    deadline = time.monotonic() + 120
    while not claim.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    worker = json.loads(claim.read_text())["pid"]
    os.kill(worker, signal.SIGSTOP)
    assert process.wait(300) == 0
    result = read_results(out)
    assert [r.outcome for r in result.runs] == ["timeout", "finished"]
    assert result.runs[0].error == "exceeded the suite's time limit of 1 min"
    assert not psutil.pid_exists(worker)
    assert any("lost: control, detect, seed 0: timeout" in line for line in result.lines())


@pytest.mark.parametrize(
    ("limits", "outcome"), [({"minutes": 0.02}, "timeout"), ({"gigabytes": 0.05}, "memory")]
)
def test_a_run_over_its_limits_is_a_result(
    limits: dict[str, float], outcome: str, tmp_path: Path
) -> None:
    suite = tmp_path / "small.yaml"
    suite.write_text(
        f"name: small\ncontrol: control\narms: [control]\nlimits: {json.dumps(limits)}\n"
    )
    result, _ = run_benchmark(str(suite), out=tmp_path / "out", task="detect", **TINY)
    assert [r.outcome for r in result.runs] == [outcome]
    assert "exceeded the suite's" in str(result.runs[0].error)
    assert result.lost


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"arms": "no-nrom"}, "Did you mean 'no-norm'"),
        ({"seeds": 0}, "seeds: Input should be greater than or equal to 1"),
        ({"jobs": 0}, "Invalid value jobs=0"),
        ({"address": "auto"}, "address=auto requires a cluster executor"),
        ({"executor": "locl"}, "there is no executor 'locl'. Did you mean 'local'"),
        ({"epoch": 3}, "Unknown key 'epoch'. Did you mean 'epochs'"),
        ({"seed": 3}, "seed= is set by the suite for each run; omit it. Did you mean 'seeds'"),
        ({"clip": "nrom:1"}, "there is no clip 'nrom'"),
        ({"model": "nope.yaml"}, "neither a file nor a model"),
    ],
)
def test_mistakes_end_before_the_first_run(
    changed: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(StabilityError, match=complaint):
        tiny(tmp_path / "out", **changed)
    assert not (tmp_path / "out" / "runs").exists()


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StabilityError, match=r"contains other files \(thesis.txt\)"):
        tiny(tmp_path)


@pytest.mark.full
def test_verify_finds_the_same_and_names_what_was_changed(
    benchmark: tuple[Path, BenchmarkResult], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(benchmark[0], out)
    same = verify_benchmark(out, sample=1)
    assert same.identical
    assert "are identical in every step" in same.lines()[0]

    plan = json.loads((out / "plan.json").read_text())
    plan["runs"][0]["settings"]["seed"] = 7
    (out / "plan.json").write_text(json.dumps(plan))
    other = verify_benchmark(out, sample=1)
    assert not other.identical
    assert "seed was 0 and is now 7" in other.lines()[1]
    assert "loss differs from step 0 on" in other.lines()[1]

    results = json.loads((out / "results.json").read_text())
    results["manifest"]["versions"]["torch"] = "1.0"
    (out / "results.json").write_text(json.dumps(results))
    assert any("torch was 1.0 and is" in line for line in verify_benchmark(out, sample=1).lines())


@pytest.mark.full
def test_verify_catches_another_image(tmp_path: Path) -> None:
    """One image of the embedded set is replaced by a black one after the benchmark."""
    data = tmp_path / "data"
    source = Path(resolve_data("shapes", "detect").data).parent
    shutil.copytree(source, data)
    for listed in data.glob("*.txt"):
        listed.write_text(listed.read_text().replace(str(source), str(data)))
    image = next(iter(sorted(data.rglob("*.png")) or sorted(data.rglob("*.jpg"))))
    run = {"arms": "control", "data": str(data / "data.yaml")}
    tiny(tmp_path / "out", **run)
    assert verify_benchmark(tmp_path / "out").identical
    cv2.imwrite(str(image), np.zeros((96, 96, 3), dtype=np.uint8))
    for cache in data.rglob("*.cache"):
        cache.unlink()
    changed = verify_benchmark(tmp_path / "out")
    assert not changed.identical
    assert "the dataset has changed" in changed.lines()[1]


@pytest.mark.full
def test_workers_end_with_a_benchmark_that_is_killed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = (
        "from yolo_stability.studies.run_benchmark import run_benchmark as r; "
        f"r({suite()!r}, out={str(out)!r}, arms='no-norm', task='detect', "
        f"**{TINY | {'epochs': 200}!r})"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    claim = out / "runs" / "control" / "detect" / "tiny" / "0" / "stability" / "running.json"
    deadline = time.monotonic() + 120
    while not claim.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    worker = psutil.Process(json.loads(claim.read_text())["pid"])
    process.kill()
    process.wait()
    psutil.wait_procs([worker], timeout=20)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


def test_runs_at_hand_are_compared_as_the_benchmark_did(
    benchmark: tuple[Path, BenchmarkResult], tmp_path: Path
) -> None:
    out, result = benchmark
    control, arm = (out / result.runs[i].folder for i in (0, 2))
    compared = compare_runs([control, arm], tmp_path / "out")
    assert [r.verdict for r in compared.runs] == [result.runs[0].verdict, result.runs[2].verdict]
    assert compared.runs[1].why == result.runs[2].why
    assert [r.trace_digest for r in compared.runs] == [
        r.trace_digest for r in (result.runs[0], result.runs[2])
    ]
    assert compared.runs[0].arm == "control/detect/tiny/0"
    assert read_results(tmp_path / "out") == compared
    assert compare_runs([out], tmp_path / "again") == read_results(out)


def test_a_plain_run_of_ultralytics_brings_what_its_table_tells(
    benchmark: tuple[Path, BenchmarkResult], tmp_path: Path
) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "args.yaml").write_text("task: detect\nmodel: yolo26n.yaml\nlr0: 0.5\n")
    (plain / "results.csv").write_text(
        "epoch, metrics/mAP50(B), train/box_loss\n1, 0.25, 3\n2, 0.75, nan\n"
    )
    out, result = benchmark
    compared = compare_runs([out / result.runs[0].folder, plain], tmp_path / "out")
    assert compared.runs[1].fitness == 0.75
    assert compared.runs[1].verdict == "failed"  # NaN in its last row
    assert compared.runs[1].effective["lr0"] == 0.5
    assert "plain Ultralytics" in compared.arms[1].claim


@pytest.mark.parametrize(
    ("folders", "complaint"),
    [
        ([], "expects two or more runs"),
        (["a", "a"], "is listed twice"),
        (["a", "nowhere"], "'.*nowhere' does not exist"),
    ],
)
def test_what_cannot_be_compared(folders: list[str], complaint: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "args.yaml").write_text("task: detect\n")
    (tmp_path / "a" / "results.csv").write_text("epoch\n")
    with pytest.raises(StabilityError, match=complaint):
        compare_runs([tmp_path / f for f in folders], tmp_path / "out")
