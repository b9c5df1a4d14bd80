"""From a benchmark folder to files: what is scored, when an alarm was known, what the files say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from labelled import GRADUAL, alarm_above, run, steps
from traces import write

from yolo_stability.benchmarks.labeled_runs import labeled_runs, prefix
from yolo_stability.benchmarks.plan import RunOutcome
from yolo_stability.core.findings import Cause, Diagnosis
from yolo_stability.core.types import Event, StepRecord, Trace
from yolo_stability.studies.fault_detection import FAULTS_JSON, score_labeled
from yolo_stability.studies.fault_detection.metrics import OURS
from yolo_stability.studies.fault_detection.score import known_at, run_detectors, write_faults
from yolo_stability.trace import TraceWriter, load_trace

FLAT = [8.0] * 20


def put(
    folder: Path, arm: str, losses: list[float], model: str = "yolov8n.yaml", **outcome: Any
) -> Path:
    """A run of a benchmark as the worker and its supervisor leave it."""
    place = folder / "runs" / arm / "detect" / Path(model).stem / "0"
    write(place, steps(losses), effective={"optimizer": "AdamW"})
    spec = {"arm": arm, "task": "detect", "model": model, "seed": 0, "settings": {"batch": 8}}
    (place / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    values: dict[str, Any] = {
        "digest": "d",
        "outcome": "finished",
        "metrics": {"metrics/mAP50(B)": 0.7},
    }
    RunOutcome(**{**values, **outcome}).write(place)
    return place


@pytest.mark.parametrize("first", [0, 1, 7, 18, 19])
def test_an_alarm_is_known_at_the_step_that_raises_it(tmp_path: Path, first: int) -> None:
    losses = [8.0] * first + [99.0] * (20 - first)
    assert known_at(run(tmp_path, steps(losses)).trace, alarm_above(50)) == first


def test_an_alarm_that_is_withdrawn_later_was_known_all_the_same(tmp_path: Path) -> None:
    def hasty(trace: Trace, masked: bool) -> Diagnosis:
        told = alarm_above(50)(trace, masked)
        return told if trace.steps.height < 15 else Diagnosis(run_id="", verdict="stable", why="")

    assert known_at(run(tmp_path, steps([8.0] * 5 + [99.0] * 15)).trace, hasty) == 5


@pytest.mark.parametrize("size", [1, 2, 9, 11, 23])
def test_the_last_step_alone_is_enough(tmp_path: Path, size: int) -> None:
    assert (
        known_at(run(tmp_path, steps([8.0] * (size - 1) + [99.0])).trace, alarm_above(50))
        == size - 1
    )


def test_no_alarm_is_never_known(tmp_path: Path) -> None:
    assert known_at(run(tmp_path, steps(FLAT)).trace, alarm_above(50)) is None


def test_a_prefix_knows_nothing_of_what_came_later(tmp_path: Path) -> None:
    write(tmp_path, steps(FLAT))
    writer = TraceWriter(tmp_path / "stability", [])
    for step, kind in ((3, "guard_skip"), (5, "guard_skip"), (4, "end")):
        writer.event(Event(attempt=0, step=step, kind=kind))
    writer.close()
    trace = load_trace(tmp_path)
    part = prefix(trace, 5)
    assert part.steps["step"].to_list() == [0, 1, 2, 3, 4]
    assert sorted(set(part.blocks["step"].to_list())) == [0, 1, 2, 3, 4]
    assert part.events.select("step", "kind").rows() == [(3, "guard_skip")]
    assert prefix(trace, 20) is trace


def test_a_judged_run_holds_what_each_detector_said(tmp_path: Path) -> None:
    healthy = [run(tmp_path / "a", steps(FLAT))]
    found = run_detectors(
        run(tmp_path / "x", steps([8.0] * 12 + [99.0] * 8), GRADUAL), healthy, alarm_above(50)
    )
    assert (found.effective, found.onset, found.verdict, found.critical) == (
        True,
        12,
        "failed",
        ["high"],
    )
    assert (found.alarms[OURS], found.alarms["Lightning SpikeDetection"]) == (12, 12)
    calm = run_detectors(healthy[0], [], alarm_above(50))
    assert (calm.effective, calm.onset, calm.alarms[OURS]) == (False, None, None)


def test_runs_are_read_with_the_labels_of_their_scenarios(tmp_path: Path) -> None:
    put(tmp_path, "control", FLAT)
    put(tmp_path, "no-norm", FLAT, metrics={"metrics/mAP50(B)": None})
    put(tmp_path, "fault-nan-loss", FLAT, outcome="crashed")
    put(tmp_path, "healthy-sgd", FLAT, outcome="killed")  # says nothing
    put(tmp_path, "deep", FLAT)  # a scenario without label
    put(tmp_path, "gone", FLAT)  # no scenario any more
    (put(tmp_path, "huge-lr", FLAT) / "spec.json").write_text("{", encoding="utf-8")
    found = {run.arm: run for run in labeled_runs(tmp_path, "control")}
    assert sorted(found) == ["control", "fault-nan-loss", "no-norm"]
    assert found["control"].label.healthy
    assert (found["no-norm"].label.cause, found["no-norm"].fitness) == ("normalization", None)
    assert (found["fault-nan-loss"].fitness, found["fault-nan-loss"].label.step) == (0.0, 30)


def test_files_hold_both_halves(tmp_path: Path) -> None:
    for model in ("yolov8n.yaml", "yolo26n.yaml"):
        put(tmp_path, "control", FLAT, model)
        put(tmp_path, "no-norm", [8.0] * 12 + [99.0] * 8, model)
    write_faults(tmp_path, diagnose=alarm_above(50))
    content = json.loads((tmp_path / FAULTS_JSON).read_text(encoding="utf-8"))
    assert [half["models"] for half in content["halves"]] == [["yolov8n"], ["yolo26n"]]
    assert [half["detectors"][0]["recall"]["hits"] for half in content["halves"]] == [1, 1]
    assert len(content["runs"]) == 4
    text = (tmp_path / "faults.md").read_text(encoding="utf-8")
    assert "| no-norm | normalization | gradual | 1 of 1 | 1 |" in text
    assert (tmp_path / "faults.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_without_labelled_runs_says_so(tmp_path: Path) -> None:
    write_faults(tmp_path, diagnose=alarm_above(50))
    assert "No labeled run has ended" in (tmp_path / "faults.md").read_text(encoding="utf-8")


def test_only_suites_made_for_it_are_scored(tmp_path: Path) -> None:
    assert score_labeled(tmp_path, ["control", "huge-lr", "no-norm"], "control") is None
    assert score_labeled(tmp_path, ["control", "healthy-sgd"], "control") is None
    assert not list(tmp_path.iterdir())
    assert score_labeled(tmp_path, ["control", "huge-lr", "healthy-sgd"], "control") is not None


def test_a_diagnosis_that_sees_the_settings_is_told_apart(tmp_path: Path) -> None:
    def diagnose(trace: Trace, masked: bool) -> Diagnosis:
        name = "data" if masked else "learning_rate"
        told = alarm_above(50)(trace, masked)
        return replace(told, causes=(Cause(name=name, score=1.0, evidence=""),))  # type: ignore[arg-type]

    records: list[StepRecord] = steps([99.0] * 20)
    found = run_detectors(run(tmp_path, records, GRADUAL), [], diagnose)
    assert (found.masked, found.informed) == (["data"], ["learning_rate"])
