"""Labels that the loss never sees, and losses that are 0 for good reasons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from epoch_tables import learning, set_rows, settings, stock
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from odd_runs import cut

from yolo_stability.core.findings import Finding
from yolo_stability.core.types import RunHeader
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import healthy_run
from yolo_stability.diagnosis.rules.no_match import NoMatch
from yolo_stability.trace.arrays import RunSeries

NAN = math.nan
V8, V26, RTDETR = (
    ("box_loss", "cls_loss", "dfl_loss"),
    ("box_loss", "cls_loss", "l1_loss"),
    ("giou_loss", "cls_loss", "l1_loss"),
)


def look(run: RunSeries, header: RunHeader | None = None, **how: Any) -> list[Finding]:
    return list(NoMatch().look(DiagnosisContext(run, header=header, **how)))


def trained(names: Any = V8, steps: Any = 96, *, objects: Any = 40.0, **items: Any) -> RunSeries:
    """Return a run with loss items of 1, or other values by name, and a number of objects."""
    losses = {name: np.ones(steps) for name in names}
    for name, value in items.items():
        losses[name] = np.broadcast_to(np.asarray(value, dtype=float), steps).copy()
    run = replace(healthy_run(steps), losses=losses)
    return replace(run, objects=np.broadcast_to(np.asarray(objects, dtype=float), steps).copy())


# --- losses of boxes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "zero"),
    [
        (V8, ("box_loss", "dfl_loss")),
        (V26, ("box_loss", "l1_loss")),
        (RTDETR, ("giou_loss", "l1_loss")),
        ((*V8, "angle_loss"), ("box_loss", "dfl_loss")),
        (("box_loss", "seg_loss", "cls_loss", "dfl_loss", "sem_loss"), ("box_loss", "dfl_loss")),
        (("box_loss", "pose_loss", "kobj_loss", *V8[1:]), ("box_loss", "dfl_loss")),
    ],
)
@pytest.mark.parametrize("steps", [8, 9, 40, 600])
@pytest.mark.parametrize("known", [True, False])
def test_boxes_that_are_never_matched_are_critical(
    names: Sequence[str], zero: Sequence[str], steps: int, known: bool
) -> None:
    run = trained(names, steps, **dict.fromkeys(zero, 0.0))
    for live in (True, False):
        (found,) = look(run, settings() if known else None, live=live)
        assert (found.severity, found.column) == ("critical", f"train/{zero[0]}")
        assert (found.first_epoch, found.first_step, found.last_step) == (1, 0, steps - 1)
        assert f"all {steps} steps with objects" in found.message


@pytest.mark.parametrize("part", ["box_loss", "dfl_loss"])
def test_one_loss_of_boxes_is_enough_where_its_gain_is_known(part: str) -> None:
    run = trained(**{part: 0.0})
    (found,) = look(run, settings())
    assert (found.severity, found.column) == ("critical", f"train/{part}")
    assert look(run) == []


@pytest.mark.parametrize("gain", [0, 0.0, "0"])
@pytest.mark.parametrize(("part", "name"), [("box_loss", "box"), ("dfl_loss", "dfl")])
def test_a_gain_of_0_is_silent(part: str, name: str, gain: Any) -> None:
    assert look(trained(**{part: 0.0}), settings(**{name: gain})) == []
    assert look(trained(box_loss=0.0, dfl_loss=0.0), settings(box=0, dfl=0)) == []


def test_with_a_gain_of_0_the_other_loss_still_counts() -> None:
    (found,) = look(trained(box_loss=0.0, dfl_loss=0.0), settings(dfl=0))
    assert found.message.startswith("box_loss was exactly 0")


@pytest.mark.parametrize("item", ["cls_loss", "kobj_loss", "pose_loss", "seg_loss", "rle_loss"])
def test_losses_of_anything_else_may_be_0(item: str) -> None:
    assert look(trained((*V8, item), **{item: 0.0}), settings()) == []


@pytest.mark.parametrize("steps", range(1, 8))
def test_fewer_than_eight_steps_are_no_evidence(steps: int) -> None:
    assert look(trained(steps=steps, box_loss=0.0, dfl_loss=0.0), settings()) == []


def test_only_steps_with_objects_count() -> None:
    objects = np.where(np.arange(96) % 12 == 5, 3.0, 0.0)
    zero: dict[str, Any] = {"box_loss": 0.0, "dfl_loss": 0.0}
    (found,) = look(trained(objects=objects, **zero), settings())
    assert (found.first_step, "all 8 steps with objects" in found.message) == (5, True)
    objects[29] = 0.0
    assert look(trained(objects=objects, **zero), settings()) == []


@pytest.mark.parametrize("since", [0, 1, 7])
def test_a_loss_above_0_within_the_first_steps_ends_it(since: int) -> None:
    box = np.zeros(96)
    box[since] = 1e-7
    assert look(trained(box_loss=box, dfl_loss=box), settings()) == []


def test_a_slow_start_is_a_warning_after_the_run() -> None:
    box = np.where(np.arange(96) < 20, 0.0, 1.0)
    run = trained(box_loss=box, dfl_loss=box)
    (found,) = look(run, settings())
    assert (found.severity, found.first_step, found.last_step) == ("warning", 0, 19)
    (live,) = look(run, settings(), live=True)
    assert live.severity == "critical"


@pytest.mark.parametrize("since", [1, 8, 50])
def test_a_loss_that_becomes_0_later_is_another_fault(since: int) -> None:
    box = np.where(np.arange(96) < since, 1.0, 0.0)
    assert look(trained(box_loss=box, dfl_loss=box), settings()) == []


def test_a_window_that_does_not_begin_with_the_run_is_silent() -> None:
    run = trained(box_loss=0.0, dfl_loss=0.0)
    assert look(replace(run, step=run.step + 400), settings(), live=True) == []


def test_without_objects_recorded_whole_epochs_must_be_0() -> None:
    zero: dict[str, Any] = {"box_loss": 0.0, "dfl_loss": 0.0, "objects": NAN}
    assert look(trained(steps=32, **zero), settings()) == []  # two epochs
    (found,) = look(trained(steps=48, **zero), settings())
    assert (found.severity, found.column, found.first_epoch) == ("critical", "train/box_loss", 1)
    assert "objects" not in found.message
    later = np.where(np.arange(96) == 90, 1.0, 0.0)
    assert look(trained(box_loss=later, dfl_loss=later, objects=NAN), settings()) == []


# --- runs without a trace -------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb", "rtdetr"])
@pytest.mark.parametrize("epochs", [3, 8, 100])
def test_a_table_of_zeros_is_critical(task: str, epochs: int) -> None:
    rows = learning(epochs, task)
    for item in ("box", "giou", "dfl", "l1"):
        rows = set_rows(rows, f"train/{item}", slice(None), 0.0)
    (found,) = list(NoMatch().look(stock(rows)))
    column = "train/giou_loss" if task == "rtdetr" else "train/box_loss"
    assert (found.severity, found.column) == ("critical", column)
    assert (found.first_epoch, found.last_epoch) == (1, epochs)


@pytest.mark.parametrize("rows", [1, 2])
def test_two_rows_of_zeros_are_no_evidence(rows: int) -> None:
    table = set_rows(
        set_rows(learning(rows), "train/box", slice(None), 0.0), "train/dfl", slice(None), 0.0
    )
    assert list(NoMatch().look(stock(table))) == []


def test_a_table_with_one_row_above_0_or_one_loss_above_0_is_silent() -> None:
    table = set_rows(learning(12), "train/box", slice(None), 0.0)
    assert list(NoMatch().look(stock(table))) == []
    table = set_rows(table, "train/dfl", slice(None), 0.0)
    table["train/dfl_loss"][7] = table["train/box_loss"][7] = 0.00001
    assert list(NoMatch().look(stock(table))) == []


# --- objects --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "text"),
    [(0, "the labels hold none"), (72, "the labels hold 72 objects"), (None, "no step")],
)
def test_a_run_without_one_object_is_critical(labels: int | None, text: str) -> None:
    run = trained(objects=0.0, box_loss=0.0, dfl_loss=0.0)
    (found,) = look(run, settings(objects=labels))
    assert (found.severity, found.first_epoch, found.last_epoch) == ("critical", 1, 6)
    assert text in found.message


def test_one_whole_epoch_without_an_object_is_critical() -> None:
    objects = np.where(np.arange(96) // 16 == 2, 0.0, 40.0)
    (found,) = look(trained(objects=objects), settings())
    assert (found.first_epoch, found.last_epoch, found.first_step) == (3, 3, 32)
    objects[40] = 1.0
    assert look(trained(objects=objects), settings()) == []


def test_a_short_run_without_an_object_is_critical_at_its_end() -> None:
    run = replace(trained(steps=6, objects=0.0), epoch=np.arange(6) // 2)
    assert look(run, settings())[0].severity == "critical"
    assert look(run, settings(), live=True) == []


def test_an_epoch_in_progress_may_yet_hold_an_object() -> None:
    run = trained(steps=16, objects=0.0)
    assert look(run, settings(), live=True) == []


def test_tasks_without_boxes_have_no_objects() -> None:
    assert look(trained(("ce_loss", "dice_loss"), objects=0.0), settings(task="semantic")) == []
    assert look(trained(("loss",), objects=0.0), settings(task="classify")) == []


# --- classification -------------------------------------------------------------------------------


def test_classification_of_one_class_is_critical() -> None:
    for steps in (3, 96):
        run = trained(("loss",), steps, objects=NAN, loss=0.0)
        (found,) = look(run, settings(task="classify", nc=1))
        assert (found.severity, found.column, found.first_step) == ("critical", "train/loss", 0)
        assert "single class" in found.message


def test_a_loss_of_exactly_0_shows_it_where_the_number_is_unknown() -> None:
    run = trained(("loss",), objects=NAN, loss=0.0)
    assert look(run)[0].severity == "critical"
    assert look(run, settings(task="classify"))[0].severity == "critical"
    (found,) = list(NoMatch().look(stock({"train/loss": np.zeros(3), "val/loss": np.zeros(3)})))
    assert (found.column, found.first_epoch) == ("train/loss", 1)


@pytest.mark.parametrize("loss", [1e-7, np.where(np.arange(96) == 0, 0.3, 0.0)])
def test_a_small_loss_of_classification_is_silent(loss: Any) -> None:
    run = trained(("loss",), objects=NAN, loss=loss)
    assert look(run) == look(run, settings(task="classify", nc=10)) == []


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb"])
def test_other_tasks_may_have_one_class(task: str) -> None:
    assert look(trained(), settings(task=task, nc=1)) == []


def test_a_loop_of_ones_own_with_a_loss_of_0_is_no_classification() -> None:
    run = trained(("loss",), objects=NAN, loss=0.0)
    assert look(run, replace(settings(), effective={"images": 3})) == []


# --- at every moment ------------------------------------------------------------------------------


@st.composite
def runs(draw: st.DrawFn) -> RunSeries:
    """Runs whose losses and objects are 0, odd or missing in stretches."""
    steps = draw(st.integers(1, 60))
    odd = st.sampled_from([0.0, 1.0, 1e-30, 1e300, -1.0, NAN, math.inf])
    names = draw(st.sampled_from([V8, V26, RTDETR, ("loss",), ()]))
    columns = {name: np.full(steps, draw(st.sampled_from([0.0, 1.0, NAN]))) for name in names}
    objects = np.full(steps, draw(st.sampled_from([0.0, 3.0, NAN])))
    for _ in range(draw(st.integers(0, 4))):
        column = draw(st.sampled_from([objects, *columns.values()]))
        begin = draw(st.integers(0, steps - 1))
        column[begin : begin + draw(st.integers(1, 30))] = draw(odd)
    return replace(healthy_run(steps), losses=columns, objects=objects)


@pytest.mark.filterwarnings("error")
@hypothesis_settings(max_examples=80, deadline=None)
@given(run=runs(), header=st.sampled_from([None, settings(), settings(task="classify", nc=1)]))
def test_what_was_found_stays_found(run: RunSeries, header: RunHeader | None) -> None:
    """A finding of a run in progress is never withdrawn or moved, though it may become wider."""
    before: list[Finding] = []
    for steps in range(1, run.step.size + 1):
        now = look(cut(run, steps), header, live=True)
        assert all(f.last_step is not None and f.last_step < steps for f in now)
        assert not before or now
        before = now
    look(run, header)
