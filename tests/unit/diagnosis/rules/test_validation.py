"""Validations that are not finite, explode or are lost, and the many that only look like it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from epoch_tables import as_table, learning, set_rows, settings, stock, traced
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from odd_runs import cut

from yolo_stability.core.findings import Finding
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.evidence import validations
from yolo_stability.diagnosis.rules.validation import Validation

NAN, INF = math.nan, math.inf
TASKS = ["detect", "segment", "pose", "obb", "rtdetr"]
LAST = slice(None)


def look(context: DiagnosisContext) -> list[Finding]:
    return list(Validation().look(context))


def dated(found: Finding) -> tuple[str, str | None, int | None, int | None]:
    return found.severity, found.column, found.first_epoch, found.last_epoch


# --- losses that are not finite -------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("since", [0, 1, 12, 25])
def test_validations_of_nan_without_metrics_are_critical(
    task: str, value: float, since: int
) -> None:
    rows = set_rows(learning(28, task), "val/", slice(since, None), value)
    rows = set_rows(rows, "metrics/", slice(since, None), 0.0)
    first = next(name for name in rows if name.startswith("val/"))
    found = look(stock(rows))
    assert dated(found[0]) == ("critical", first, since + 1, 28)
    assert found[0].first_step == since
    others = sum(name.startswith("val/") for name in rows) - 1
    assert f"along with {others} other columns" in found[0].message
    assert all((f.column or "").startswith("metrics/") for f in found[1:])


@pytest.mark.parametrize("metric", [0.0, NAN])
def test_a_single_final_validation_of_nan_is_enough(metric: float) -> None:
    rows = set_rows(learning(6), "val/", LAST, NAN)
    rows = set_rows(rows, "metrics/", LAST, metric)
    (found,) = look(stock(rows, validated=[False] * 5 + [True]))
    assert dated(found) == ("critical", "val/box_loss", 6, 6)


def test_in_a_trace_steps_are_those_of_the_epochs() -> None:
    rows = set_rows(learning(8), "val/cls", slice(5, None), NAN)
    rows = set_rows(rows, "metrics/", slice(5, None), 0.0)
    found, lost = look(DiagnosisContext(traced(rows, steps=10)))
    assert (found.column, found.first_step, found.last_step) == ("val/cls_loss", 59, 79)
    assert (lost.column, lost.first_epoch, lost.first_step) == ("metrics/mAP50-95(B)", 6, 59)


def test_an_epoch_that_is_not_validated_in_between_does_not_end_it() -> None:
    rows = set_rows(learning(12), "val/", slice(4, None), NAN)
    rows = set_rows(rows, "metrics/", slice(4, None), 0.0)
    for name in rows:
        if not name.startswith("train/"):
            rows[name][1::2] = 0.0
    found = look(stock(rows, validated=[True, False] * 6))
    assert dated(found[0]) == ("critical", "val/box_loss", 5, 11)


@pytest.mark.parametrize("column", ["val/box_loss", "val/cls_loss", "val/dfl_loss"])
@pytest.mark.parametrize("until", [1, 2, 6, 11])
def test_an_early_inf_that_ends_is_one_warning(column: str, until: int) -> None:
    (found,) = look(stock(set_rows(learning(28), column, slice(0, until), INF)))
    assert dated(found) == ("warning", column, 1, until)
    assert (found.first_step, found.last_step) == (0, until - 1)


@pytest.mark.parametrize("until", [1, 5, 9])
def test_an_early_nan_with_metrics_of_0_that_ends_is_one_warning(until: int) -> None:
    rows = set_rows(learning(28), "val/", slice(0, until), NAN)
    (found,) = look(stock(set_rows(rows, "metrics/", slice(0, until), 0.0)))
    assert dated(found) == ("warning", "val/box_loss", 1, until)


def test_losses_of_nan_while_metrics_learn_are_a_warning() -> None:
    (found,) = look(stock(set_rows(learning(28), "val/", slice(3, None), NAN)))
    assert dated(found) == ("warning", "val/box_loss", 4, 28)


def test_a_cell_that_is_missing_is_not_nan() -> None:
    rows = set_rows(learning(9), "val/box", slice(4, None), NAN)
    context = stock(rows)
    missing = np.arange(9) >= 4
    context.epochs.missing["val/box_loss"][:] = missing
    assert look(context) == []


def test_trouble_that_lasts_is_reported_before_trouble_that_ended() -> None:
    rows = set_rows(learning(28), "val/cls", slice(0, 2), INF)
    rows = set_rows(set_rows(rows, "val/", slice(20, None), NAN), "metrics/", slice(20, None), 0.0)
    found = look(stock(rows))[0]
    assert dated(found) == ("critical", "val/box_loss", 21, 28)
    live = look(DiagnosisContext(traced(rows), live=True))[0]
    assert dated(live) == ("warning", "val/cls_loss", 1, 2)


# --- single training losses -----------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("since", [0, 7, 18, 27])
def test_a_single_training_loss_of_nan_is_named_alone(task: str, since: int) -> None:
    rows = learning(28, task)
    column = [name for name in rows if name.startswith("train/")][1]
    (found,) = look(stock(set_rows(rows, column, slice(since, None), NAN)))
    assert dated(found) == ("critical", column, since + 1, 28)
    assert "other column" not in found.message


def test_training_losses_that_recovered_are_a_warning() -> None:
    (found,) = look(stock(set_rows(learning(28), "train/", slice(3, 5), NAN)))
    assert dated(found) == ("warning", "train/box_loss", 4, 5)
    assert "along with 2 other columns" in found.message


def test_masks_that_are_lost_are_dated_in_each_kind_of_column() -> None:
    rows = set_rows(learning(28, "segment"), "train/seg", slice(18, None), NAN)
    rows = set_rows(rows, "val/seg", slice(18, None), NAN)
    for name in rows:
        if name.endswith("(M)"):
            rows[name][18:] = 0.0
    assert [dated(f) for f in look(stock(rows))] == [
        ("critical", "train/seg_loss", 19, 28),
        ("critical", "val/seg_loss", 19, 28),
        ("critical", "metrics/mAP50-95(M)", 19, 28),
    ]


# --- losses that explode --------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("since", "factor"), [(1, 1e4), (5, 100.0), (20, 1e9)])
def test_losses_that_explode_for_good_without_metrics_are_critical(
    task: str, since: int, factor: float
) -> None:
    rows = learning(28, task)
    column = [name for name in rows if name.startswith("val/")][-1]
    for name in [n for n in rows if n.startswith("val/")]:
        rows[name][since:] *= factor * (2 if name == column else 1)
    rows = set_rows(rows, "metrics/", slice(since, None), 0.0)
    found = next(f for f in look(stock(rows)) if (f.column or "").startswith("val/"))
    assert dated(found) == ("critical", column, since + 1, 28)
    assert found.threshold == 20
    assert (found.observed or 0) > 20


def test_losses_that_explode_while_metrics_learn_are_a_warning() -> None:
    rows = learning(28)
    rows["val/dfl_loss"][20:] *= 1e3
    (found,) = look(stock(rows))
    assert dated(found) == ("warning", "val/dfl_loss", 21, 28)


# --- metrics that are lost ------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("since", [3, 20, 25])
@pytest.mark.parametrize("left", [0.0, 1e-4, NAN])
def test_metrics_that_fall_to_0_for_good_are_critical(task: str, since: int, left: float) -> None:
    rows = set_rows(learning(28, task), "metrics/", slice(since, None), left)
    (found,) = look(stock(rows))
    kind = {"segment": "M", "pose": "P"}.get(task, "B")
    assert dated(found) == ("critical", f"metrics/mAP50-95({kind})", since + 1, 28)
    best = int(np.argmax(rows[found.column or ""][:since])) + 1
    assert f"in epoch {best} to 0" in found.message


@pytest.mark.parametrize("column", ["metrics/mAP_0.5:0.95", "metrics/mIoU"])
def test_metrics_of_other_names_count(column: str) -> None:
    rows = learning(20)
    metric = set_rows({column: rows["metrics/mAP50-95(B)"]}, column, slice(14, None), 0.0)
    kept = {name: c for name, c in rows.items() if not name.startswith("metrics/")}
    (found,) = look(stock({**kept, **metric}))
    assert dated(found) == ("critical", column, 15, 20)


def test_accuracy_falls_to_chance_where_the_number_of_classes_is_known() -> None:
    rows = set_rows(learning(20, "classify"), "metrics/", slice(12, None), 0.25)
    run = traced(rows)
    assert look(DiagnosisContext(run)) == []
    (found,) = look(DiagnosisContext(run, header=settings(task="classify", nc=4)))
    assert dated(found) == ("critical", "metrics/accuracy_top1", 13, 20)


def test_metrics_that_come_back_are_a_warning() -> None:
    (found,) = look(stock(set_rows(learning(28), "metrics/", slice(10, 15), 0.0)))
    assert dated(found) == ("warning", "metrics/mAP50-95(B)", 11, 15)


def test_a_run_in_progress_is_warned() -> None:
    rows = set_rows(learning(10), "metrics/", slice(5, None), 0.0)
    (found,) = look(DiagnosisContext(traced(rows), live=True))
    assert dated(found) == ("warning", "metrics/mAP50-95(B)", 6, 10)


@pytest.mark.parametrize("zeros", [10, 11, 28])
def test_metrics_of_0_in_ten_validations_running_are_a_warning_from_the_first_on(
    zeros: int,
) -> None:
    (found,) = look(stock(set_rows(learning(28), "metrics/", slice(0, zeros), 0.0)))
    assert dated(found) == ("warning", "metrics/mAP50-95(B)", 1, zeros)


def test_zeros_that_follow_a_loss_of_metrics_are_reported_once() -> None:
    (found,) = look(stock(set_rows(learning(40), "metrics/", slice(8, None), 0.0)))
    assert dated(found) == ("critical", "metrics/mAP50-95(B)", 9, 40)


# --- what looks like it ---------------------------------------------------------------------------


@pytest.mark.parametrize("task", [*TASKS, "classify"])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("epochs", [1, 2, 3, 10, 60])
def test_runs_that_learn_are_silent(task: str, seed: int, epochs: int) -> None:
    rows = learning(epochs, task, seed=seed)
    assert look(stock(rows)) == []
    assert look(DiagnosisContext(traced(rows))) == []


def closing_mosaic(rows: Any) -> Any:
    for name in rows:
        if name.startswith("train/"):
            rows[name][-10:] += 0.35
    return rows


def huge_first(rows: Any) -> Any:
    return set_rows(rows, "val/", slice(0, 1), 1e9)


def overfitting(rows: Any) -> Any:
    for name in rows:
        if name.startswith("val/"):
            rows[name][8:] *= np.linspace(1, 6, rows[name][8:].size)
    return rows


def one_bad_validation(rows: Any) -> Any:
    return set_rows(set_rows(rows, "val/", slice(9, 10), 1e7), "metrics/", slice(9, 11), 0.0)


def late_start(rows: Any) -> Any:
    return set_rows(rows, "metrics/", slice(0, 9), 0.0)


def chance_on_a_tiny_set(rows: Any) -> Any:
    rows = set_rows(rows, "metrics/", slice(1, 8), 0.0)
    return set_rows(rows, "metrics/", slice(0, 1), 0.03)


def decline(rows: Any) -> Any:
    return set_rows(rows, "metrics/", slice(15, None), 0.15)


def fallen_in_the_last_two(rows: Any) -> Any:
    return set_rows(rows, "metrics/", slice(-2, None), 0.0)


def negative_likelihood(rows: Any) -> Any:
    rows["val/rle_loss"] = np.linspace(2.0, -4.0, len(rows["val/box_loss"]))
    return rows


def objectness_of_0(rows: Any) -> Any:
    rows["val/kobj_loss"] = np.zeros(len(rows["val/box_loss"]))
    rows["val/kobj_loss"][20:] = 0.4
    return rows


LOOKALIKES = [
    closing_mosaic,
    huge_first,
    overfitting,
    one_bad_validation,
    late_start,
    chance_on_a_tiny_set,
    decline,
    fallen_in_the_last_two,
    negative_likelihood,
    objectness_of_0,
]


@pytest.mark.parametrize("change", LOOKALIKES, ids=lambda f: f.__name__)
def test_what_healthy_runs_do_is_silent(change: Any) -> None:
    rows = change(learning(28))
    assert look(stock(rows)) == []
    assert look(DiagnosisContext(traced(rows), live=True)) == []


def test_noise_of_a_tiny_validation_set_is_silent() -> None:
    rng = np.random.default_rng(4)
    rows = learning(60, best=0.3)
    rows["metrics/mAP50-95(B)"] *= rng.uniform(0.3, 1.6, 60)
    assert look(stock(rows)) == []


def test_without_validation_nothing_is_found() -> None:
    rows = set_rows(set_rows(learning(28), "val/", LAST, 0.0), "metrics/", LAST, 0.0)
    assert look(stock(rows, validated=False)) == []
    rows = {name: c for name, c in learning(28).items() if name.startswith("train/")}
    assert look(stock(rows)) == []


def test_rows_that_repeat_a_validation_count_once() -> None:
    rows = set_rows(learning(12), "metrics/mAP50-95", slice(8, None), 0.001)
    for name in [n for n in rows if not n.startswith("train/")]:
        rows[name][8:] = rows[name][8]
    assert look(stock(rows)) == []
    assert validations(as_table(rows)).epoch.tolist() == list(range(9))


def test_repeated_rows_of_nan_and_0_are_validations() -> None:
    rows = set_rows(set_rows(learning(12), "val/", LAST, NAN), "metrics/", LAST, 0.0)
    assert validations(as_table(rows)).epoch.size == 12


# --- at every moment ------------------------------------------------------------------------------

ODD = st.sampled_from([0.0, -0.0, 1e-9, 0.3, 1.0, 50.0, 1e30, 1e308, -5.0, NAN, INF, -INF])


@st.composite
def tables(draw: st.DrawFn) -> Any:
    """Tables of runs that learn, with stretches of odd values in some columns."""
    size = draw(st.integers(1, 30))
    rows = learning(size, draw(st.sampled_from(["detect", "segment", "classify"])))
    for _ in range(draw(st.integers(0, 5))):
        begin = draw(st.integers(0, size - 1))
        prefix = draw(st.sampled_from(["train/", "val/", "metrics/", *rows]))
        rows = set_rows(rows, prefix, slice(begin, begin + draw(st.integers(1, 15))), draw(ODD))
    return rows, draw(st.lists(st.booleans(), min_size=size, max_size=size))


@pytest.mark.filterwarnings("error")
@hypothesis_settings(max_examples=150, deadline=None)
@given(given_table=tables())
def test_no_table_makes_it_raise_and_findings_are_dated_within_it(given_table: Any) -> None:
    rows, validated = given_table
    for context in (stock(rows, validated), DiagnosisContext(traced(rows, validated, steps=2))):
        for found in look(context):
            assert found.column in rows
            assert 1 <= (found.first_epoch or 0) <= (found.last_epoch or 0)
            assert (found.last_epoch or 0) <= context.epochs.epoch.size
            assert (found.first_step or 0) <= (found.last_step or 0) <= context.step_at(-1)


@hypothesis_settings(max_examples=60, deadline=None)
@given(given_table=tables())
def test_what_was_found_stays_found(given_table: Any) -> None:
    """The findings of a run in progress depend on past epochs only: none is moved or withdrawn."""
    rows, validated = given_table
    run = traced(rows, validated, steps=2)
    before: set[tuple[str | None, int | None]] = set()
    for steps in range(1, run.step.size + 1):
        found = look(DiagnosisContext(cut(run, steps), live=True))
        now = {(f.column, f.first_epoch) for f in found}
        assert {f.severity for f in found} <= {"warning"}
        assert before <= now
        before = now


def test_an_empty_table_is_silent() -> None:
    assert look(stock({"train/box_loss": np.ones(3)})) == []
    assert look(DiagnosisContext(traced({"val/box_loss": np.ones(1)}))) == []
