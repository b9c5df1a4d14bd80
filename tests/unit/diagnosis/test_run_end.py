"""How a run ended, and the order in which that decides a verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outcome_tables import epochs_of, run_of, settings
from traces import record, write

from yolo_stability.core.findings import Best, Diagnosis, End, RunException
from yolo_stability.core.lock import lock_folder, unlock_folder
from yolo_stability.diagnosis.diagnose import diagnose_context, diagnose_series
from yolo_stability.diagnosis.examples import event, healthy_run, with_rows
from yolo_stability.diagnosis.run_end import end_of
from yolo_stability.diagnosis.targets import diagnose_run
from yolo_stability.trace.arrays import SeriesEvent

RISE = (0.01, 0.1, 0.2, 0.3, 0.38, 0.4)
PLANNED = settings(epochs=6)
RAISED = {"type": "KeyError", "message": "'x'", "where": "train.py:31"}


def ended(**data: Any) -> SeriesEvent:
    """The end event of a run of schema 2."""
    known = {"completed": False, "stopped": None, "reason": None, "epochs_done": 3}
    known |= {"epochs_planned": 6, "exception": None, "interrupted": False}
    return event("end", 95, {**known, **data})


def old(completed: bool, stopped: str | None = None) -> SeriesEvent:
    """The end event of a run of schema 1."""
    return event("end", 95, {"completed": completed, "stopped": stopped})


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([ended(completed=True, epochs_done=6)], ("finished", None, 6)),
        ([ended(completed=True, reason="patience")], ("stopped", "patience", 3)),
        ([ended(completed=True, reason="time")], ("stopped", "time", 3)),
        ([ended(stopped="...", reason="guard")], ("stopped", "guard", 3)),
        ([ended(exception=RAISED)], ("exception", None, 3)),
        ([ended(interrupted=True)], ("interrupted", None, 3)),
        ([ended(state="interrupted")], ("interrupted", None, 3)),
        ([ended(completed=True, state="finished")], ("finished", None, 3)),
        ([ended(completed=True, state="stopped", reason="user")], ("stopped", "user", 3)),
        ([], ("killed", None, 5)),
        ([old(True)], ("finished", None, 6)),
        ([old(False)], ("interrupted", None, 5)),
        ([event("guard_stop", 90), old(False, "too many")], ("stopped", "guard", 5)),
        ([event("fail_on", 90), old(False, "critical")], ("stopped", "fail_on", 5)),
        ([event("rescue_stop", 90), old(False, "gave up")], ("stopped", "rescue", 5)),
        ([event("guard_stop", 40), event("resume", 41), old(True)], ("finished", None, 6)),
        ([ended(exception=RAISED), event("resume", 41)], ("killed", None, 5)),
    ],
)
def test_the_end_of_a_recorded_run(events: list[SeriesEvent], expected: tuple[Any, ...]) -> None:
    run = healthy_run()
    context = run_of(
        epochs_of([]), 96, *events, header=PLANNED, completed=None, epoch=run.step // 16
    )
    end = end_of(context)
    assert end is not None
    assert (end.state, end.reason, end.epochs_done) == expected
    assert end.epochs_planned == 6
    assert (end.exception == RunException(**RAISED)) == (end.state == "exception")


def test_a_run_of_schema_1_that_ended_early_was_stopped() -> None:
    for known, reason in (({}, "patience"), ({"time": 0.5}, "time")):
        end = end_of(run_of(epochs_of([]), 96, old(True), header=settings(epochs=50, **known)))
        assert end is not None
        assert (end.state, end.reason) == ("stopped", reason)


def test_a_loop_that_was_left_has_no_end_and_one_that_raised_has() -> None:
    assert end_of(run_of(epochs_of([]), 96, old(True), header=settings())) is None
    raised = event("end", 95, {"completed": False, "stopped": None, "error": "ValueError"})
    end = end_of(run_of(epochs_of([]), 96, raised, header=settings()))
    assert end is not None
    assert (end.state, end.exception) == ("exception", RunException(type="ValueError", message=""))


def test_what_the_benchmark_knows_outweighs_the_trace() -> None:
    for outcome, state in (
        ("memory", "killed"),
        ("crashed", "exception"),
        ("finished", "finished"),
    ):
        end = end_of(run_of(epochs_of([]), 96, header=PLANNED, outcome=outcome, completed=None))
        assert end is not None
        assert end.state == state
    end = end_of(run_of(epochs_of([]), 96, old(False), header=PLANNED, outcome="stopped"))
    assert end is not None
    assert (end.state, end.reason) == ("stopped", "user")


def test_a_run_is_in_progress_while_its_folder_is_locked(tmp_path: Path) -> None:
    write(
        tmp_path,
        [record(s, (3.0, 4.0, 2.0, 12.0), loss=8.0 - 0.05 * s) for s in range(40)],
        ended=False,
    )
    assert diagnose_run(tmp_path).end == End(state="killed", epochs_done=9)
    lock_folder(tmp_path / "stability")
    found = diagnose_run(tmp_path)
    unlock_folder(tmp_path / "stability")
    assert (found.verdict, found.end) == ("inconclusive", End(state="running", epochs_done=9))
    assert found.why.startswith("the run is in progress, 9 epochs done; no sign of trouble")


# --- the order of verdicts ------------------------------------------------------------------------

NAN = float("nan")
LOST = (0.4, 0.4, 0.4, 0.0, 0.0, 0.0)
FELL = (0.4, 0.4, 0.4, 0.1, 0.1, 0.1)
HERE = with_rows(healthy_run(), slice(80, 96), loss=NAN)
BEFORE = with_rows(healthy_run(), slice(40, 60), loss=NAN)


@pytest.mark.parametrize(
    ("metric", "run", "end", "expected"),
    [
        (RISE, healthy_run(), ended(completed=True), "stable"),
        (RISE, healthy_run(), ended(completed=True, reason="patience"), "stable"),
        (RISE, healthy_run(), ended(completed=True, reason="time"), "stable"),
        ((), healthy_run(), ended(completed=True), "stable"),  # unknown
        (LOST, healthy_run(), ended(completed=True), "failed"),
        (LOST, healthy_run(), ended(interrupted=True), "failed"),
        (RISE, HERE, ended(completed=True), "failed"),
        (RISE, HERE, ended(exception=RAISED), "failed"),
        (RISE, healthy_run(), ended(reason="guard"), "failed"),
        (RISE, healthy_run(), ended(reason="fail_on"), "failed"),
        (RISE, healthy_run(), ended(reason="rescue"), "failed"),
        (RISE, BEFORE, ended(completed=True), "unstable"),
        (RISE, BEFORE, ended(interrupted=True), "unstable"),
        (FELL, healthy_run(), ended(completed=True), "unstable"),
        (FELL, HERE, ended(completed=True), "failed"),
        ((0.0, 0.01), BEFORE, ended(completed=True), "unstable"),
        ((0.0, 0.01), healthy_run(), ended(completed=True), "inconclusive"),
        (RISE, healthy_run(), ended(exception=RAISED), "inconclusive"),
        (RISE, healthy_run(), ended(interrupted=True), "inconclusive"),
        (RISE, healthy_run(), ended(completed=True, reason="user"), "inconclusive"),
        (RISE, healthy_run(15), ended(completed=True), "inconclusive"),
        (RISE, healthy_run(16), ended(completed=True), "stable"),
    ],
)
def test_the_first_verdict_that_fits(
    metric: tuple[float, ...], run: Any, end: SeriesEvent, expected: str
) -> None:
    run = replace(run, epochs=epochs_of(metric), events=(end,))
    found = diagnose_series(run, header=PLANNED)
    assert found.verdict == expected, found.why


def test_why_says_what_a_verdict_rests_on() -> None:
    def why(metric: tuple[float, ...], end: SeriesEvent, **columns: Any) -> str:
        epochs = epochs_of(metric, **columns)
        return diagnose_context(run_of(epochs, 96, end, header=PLANNED)).why

    done = ended(completed=True, epochs_done=6)
    assert why(RISE, done).startswith(
        "learned: mAP50-95(B) 0.4 in epoch 6 of 6; no sign of trouble in 96 steps: the gradient"
    )
    assert why(LOST, done) == (
        "not learned: metrics/mAP50-95(B) fell from 0.4 in epoch 1 to 0 from epoch 4 on"
    )
    assert why(FELL, done) == (
        "declined: mAP50-95(B) fell from 0.4 in epoch 1 to at most 0.1 in the validations of "
        "epochs 4 to 6"
    )
    assert why((0.01,), done).startswith(
        "too early to know whether it learns: mAP50-95(B) 0.01 in epoch 1 of 6; no sign of trouble"
    )
    assert why(RISE, ended(exception=RAISED)).startswith(
        "ended by KeyError in train.py:31 after 3 of 6 epochs; learned: mAP50-95(B) 0.4 in epoch 6"
    )
    assert why(RISE, done, val__cls_loss=[1.0] * 5 + [NAN]) == (
        "val/cls_loss is not finite in the last validation, although mAP50-95(B) 0.4 in epoch 6 of 6"
    )
    assert why(RISE, ended(reason="fail_on")) == "stopped by fail_on after 3 of 6 epochs"


def test_losses_of_a_validation_that_are_not_finite_are_unstable_only_at_the_end() -> None:
    for loss, expected in (([NAN] * 5 + [1.0], "stable"), ([1.0] * 5 + [NAN], "unstable")):
        context = run_of(epochs_of(RISE, val__cls_loss=loss), 96, ended(completed=True))
        assert diagnose_context(context).verdict == expected


def test_the_first_line_of_a_failed_run_names_the_checkpoint_to_deploy() -> None:
    found = Diagnosis(
        run_id="r",
        verdict="failed",
        why="not learned: " + "so it was " * 20,
        end=End(state="finished", epochs_done=9, epochs_planned=9),
    )
    best = Best(epoch=4, fitness=0.41, file="weights/best.pt", audit="sound")
    assert found.lines()[0].startswith("failed (no best.pt was saved): not learned")
    assert replace(found, best=best).lines()[0].startswith("failed (best.pt of epoch 4 is sound): ")
    damaged = replace(best, audit="damaged", epoch=None)
    assert replace(found, best=damaged).lines()[0].startswith("failed (best.pt is damaged): ")
    assert max(map(len, replace(found, best=best).lines())) <= 80
    assert replace(found, end=None).lines()[0].startswith("failed: ")
    well = replace(found, verdict="stable", best=best).lines()
    assert well[0].startswith("stable: ")
    assert "best : best.pt of epoch 4 is sound, fitness 0.41" in well
    assert "best.pt of epoch 4 is sound" in replace(found, best=best)._repr_html_()
    useless = replace(found, best=replace(best, fitness=0.0))
    assert useless.lines()[0].startswith("failed (best.pt of epoch 4 is sound, with a fitness of 0")


def test_warnings_are_heard_but_decide_nothing() -> None:
    run = with_rows(healthy_run(), slice(80, 81), norm=healthy_run().norm[80] * 100)
    run = replace(run, epochs=epochs_of(RISE), events=(ended(completed=True),))
    found = diagnose_series(run)
    assert {f.severity for f in found.findings} == {"warning"}
    assert (found.verdict, found.learning) == ("stable", "learned")
    assert "; a warning that decides nothing: " in found.why
    assert np.isfinite(run.norm).all()
