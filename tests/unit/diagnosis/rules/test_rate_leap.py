"""Leaps of the learning rate: each group against its own previous step, warm-up and schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_runs import cut, golden_folders
from traces import header

from yolo_stability.core.findings import Finding
from yolo_stability.core.types import RunHeader
from yolo_stability.diagnosis.causes import rank_causes
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import event, healthy_run
from yolo_stability.diagnosis.rules.rate_leap import RateLeap
from yolo_stability.diagnosis.schedule import StockSchedule
from yolo_stability.trace import load_trace
from yolo_stability.trace.arrays import Floats, RunSeries, as_series

BATCHES = 12
Change = Callable[[RunSeries], None]


def settings_of(epochs: int = 8, warmup: float = 1, **requested: Any) -> RunHeader:
    """The header of an Ultralytics run with 12 batches per epoch."""
    effective = {
        "task": "detect",
        "epochs": epochs,
        "batches_per_epoch": BATCHES,
        "warmup_epochs": warmup,
        "groups": {name: {"lr": 0.01} for name in ("weight", "bn", "bias")},
    }
    return header(requested=requested, effective=effective)


def stock_run(head: RunHeader, accumulate: int = 1) -> RunSeries:
    """A healthy run whose rates follow Ultralytics' warm-up and schedule."""
    plan = StockSchedule.of(head)
    assert plan is not None
    steps = plan.epochs * BATCHES // accumulate
    run = healthy_run(steps)
    last = (np.arange(steps) + 1) * accumulate - 1
    run = replace(run, epoch=last // BATCHES, accumulate=np.full(steps, accumulate))
    place, bias = plan.warmup_place(run)
    rates = {name: plan.rates(name, run, place, bias) for name in plan.base}
    return replace(run, rates=rates, lr=np.max(list(rates.values()), axis=0))


def leapt(run: RunSeries, factor: float, first: int, *groups: str, last: int = 999) -> RunSeries:
    """Return the run with the rates of some groups multiplied from a step on."""
    rates = {
        name: np.where(
            (run.step >= first) & (run.step < last) & (not groups or name in groups),
            factor * values,
            values,
        )
        for name, values in run.rates.items()
    }
    return replace(run, rates=rates, lr=np.max(list(rates.values()), axis=0))


def look(run: RunSeries, head: RunHeader | None) -> list[Finding]:
    return list(RateLeap().look(DiagnosisContext(run, header=head)))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("factor", [15.0, 500.0])
@pytest.mark.parametrize("row", [20, 24, 36, 84, 90])
@pytest.mark.parametrize("groups", [(), ("bias",), ("weight",)], ids=str)
def test_a_leap_is_critical_and_measured(
    groups: tuple[str, ...], row: int, factor: float, masked: bool
) -> None:
    """Within an epoch and, where the settings are known, at its start, where the rate falls."""
    head = settings_of()
    (found,) = look(leapt(stock_run(head), factor, row, *groups), None if masked else head)
    assert found.first_step == row
    if not masked or row % BATCHES:
        assert found.severity == "critical"
        assert found.observed == pytest.approx(factor, rel=0.01)
    named = "every group" if not groups else groups[0]
    assert f"of {named} grew" in found.message
    assert f"at step {row}," in found.message


@pytest.mark.parametrize("factor", [15.0, 500.0])
@pytest.mark.parametrize("row", [1, 2, 3, 7, 20, 35])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_leap_within_the_warm_up_is_measured(accumulate: int, row: int, factor: float) -> None:
    head = settings_of(warmup=3)
    (found,) = look(leapt(stock_run(head, accumulate), factor, row // accumulate + 1), head)
    assert (found.severity, found.first_step) == ("critical", row // accumulate + 1)
    assert found.observed == pytest.approx(factor, rel=0.01)


def test_a_leap_hidden_by_the_initial_rate_of_the_biases() -> None:
    """The highest rate over all groups does not even rise."""
    head = settings_of(warmup=3)
    run = leapt(stock_run(head), 15.0, 3, "weight", "bn")
    assert run.lr[3] <= run.lr[0]
    (found,) = look(run, head)
    assert (found.severity, found.first_step) == ("critical", 3)
    assert "of weight and bn grew" in found.message


@pytest.mark.parametrize(
    ("factor", "severity"), [(2.5, None), (4.0, "warning"), (9.5, "warning"), (10.5, "critical")]
)
def test_smaller_leaps_are_warnings(factor: float, severity: str | None) -> None:
    head = settings_of()
    found = look(leapt(stock_run(head), factor, 30), head)
    assert (found[0].severity if found else None) == severity


def test_a_leap_of_one_step_counts_and_a_fall_does_not() -> None:
    head = settings_of()
    (found,) = look(leapt(stock_run(head), 100.0, 40, last=41), head)
    assert (found.first_step, found.last_step) == (40, 40)
    assert look(leapt(stock_run(head), 0.001, 40), head) == []


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("epochs", [2, 3, 8, 100])
@pytest.mark.parametrize("warmup", [0, 1, 2.5, 3])
@pytest.mark.parametrize(
    "requested", [{}, {"cos_lr": True, "lrf": 0.001}, {"lrf": 1.0}, {"lrf": 0.0001}], ids=str
)
def test_no_stock_schedule_leaps(
    requested: dict[str, Any], warmup: float, epochs: int, masked: bool
) -> None:
    head = settings_of(epochs, warmup, **requested)
    for accumulate in (1, 2, 5):
        run = stock_run(head, accumulate)
        assert look(run, None if masked else head) == []
        assert look(run, settings_of(epochs, 0)) == []  # nor where the settings do not fit


@pytest.mark.parametrize("folder", golden_folders(), ids=lambda f: f.name)
@pytest.mark.parametrize("first", [1, 5, 40, 63])
def test_a_window_of_a_healthy_run_is_silent(first: int, folder: Path) -> None:
    """As live rules see it: it begins in the middle of an epoch, or of the warm-up."""
    trace = load_trace(folder)
    run = as_series(trace)
    later = replace(
        cut(run, run.step.size),
        **{
            name: getattr(run, name)[first:]
            for name in ("step", "lr", "epoch", "attempt", "accumulate")
        },
        rates={name: values[first:] for name, values in run.rates.items()},
    )
    for head in (trace.header, None):
        assert look(later, head) == []


def resumed(run: RunSeries, at: int, epoch: int, head: RunHeader) -> RunSeries:
    """Return the run continued from the start of an earlier epoch."""
    plan = StockSchedule.of(head)
    assert plan is not None
    attempt = (run.step >= at).astype(np.int64)
    again = np.where(attempt, epoch + (run.step - at) // BATCHES, run.epoch)
    run = replace(run, attempt=attempt, epoch=again, events=(event("resume", at),))
    place, bias = plan.warmup_place(run)
    return replace(run, rates={name: plan.rates(name, run, place, bias) for name in plan.base})


@pytest.mark.parametrize("kind", ["resume", "oom_restart", "nan_recovery"])
@pytest.mark.parametrize(("at", "epoch"), [(40, 0), (80, 2), (90, 7), (9, 0)])
@pytest.mark.parametrize("masked", [False, True])
def test_a_resume_or_restart_may_return_to_a_higher_rate(
    masked: bool, at: int, epoch: int, kind: str
) -> None:
    """To the initial rate of the biases, too."""
    head = settings_of(lrf=0.0001)
    run = resumed(stock_run(head), at, epoch, head)
    run = replace(run, events=(event(kind, at),))
    assert look(run, None if masked else head) == []


@pytest.mark.parametrize("after", [0, 1, 5])
@pytest.mark.parametrize("factor", [15.0, 500.0])
def test_a_leap_after_a_resume_is_critical(factor: float, after: int) -> None:
    head = settings_of()
    run = leapt(resumed(stock_run(head), 60, 4, head), factor, 60 + after)
    (found,) = look(run, head)
    assert (found.severity, found.first_step) == ("critical", 60 + after)
    assert found.observed == pytest.approx(factor, rel=0.1)


def test_a_session_that_begins_with_a_leap_is_held_against_its_settings() -> None:
    head = settings_of()
    whole = leapt(resumed(stock_run(head), 60, 4, head), 500.0, 60)
    keep = slice(60, None)
    rows = ("step", "lr", "epoch", "attempt", "accumulate")
    run = replace(
        whole,
        **{name: getattr(whole, name)[keep] for name in rows},
        rates={name: values[keep] for name, values in whole.rates.items()},
    )
    assert [f.first_step for f in look(run, head)] == [60]
    assert look(replace(run, events=()), head) == []  # a window somewhere in a run


def with_rescue(run: RunSeries, at: int, factors: Floats, **data: Any) -> RunSeries:
    rates = {name: values * factors for name, values in run.rates.items()}
    return replace(run, rates=rates, events=(event("rescue", at, data),))


def test_own_remedies_are_no_leaps() -> None:
    head = settings_of()
    run = stock_run(head)
    lower = np.where(run.step < 50, 1.0, 0.1)
    assert look(with_rescue(run, 50, lower, remedy="lower_rate", value="0.1"), head) == []
    ramp = np.clip(0.02 + (run.step - 50) / 32, None, 1.0)
    rewarm = np.where(run.step < 50, 1.0, ramp)
    for head_or_none in (head, None):
        assert look(with_rescue(run, 50, rewarm, remedy="rewarm", value="32"), head_or_none) == []


def test_a_rescue_that_restores_the_rate_leaves_the_leap_in_the_trace() -> None:
    head = settings_of()
    run = leapt(stock_run(head), 500.0, 40, last=41)
    run = replace(run, events=(event("rescue", 41, {"remedy": "lower_rate", "value": "0.002"}),))
    (found,) = look(run, head)
    assert (found.severity, found.first_step) == ("critical", 40)


def test_a_leap_ends_where_the_rates_are_back() -> None:
    head = settings_of()
    once = leapt(stock_run(head), 500, 40, last=42)
    for_good = leapt(stock_run(head), 500, 40)
    found = [
        next(iter(RateLeap().look(DiagnosisContext(r, header=head)))) for r in (once, for_good)
    ]
    assert [(f.first_step, f.last_step) for f in found] == [(40, 41), (40, 47)]


def test_a_schedule_with_restarts_is_a_warning_and_in_a_plain_loop_nothing() -> None:
    head, run = settings_of(), healthy_run(96)
    rate = 0.01 * 0.01 ** ((run.step % 32) / 32)
    run = replace(run, rates={"weight": rate}, lr=rate)
    (found,) = look(run, None)
    assert found.severity == "warning"
    assert "restarts" in found.message
    assert [f.severity for f in look(run, head)] == ["warning"]
    plain = replace(head, effective={"groups": {"weight": {"lr": 0.01}}})
    assert look(run, plain) == []


def test_a_plain_loop_may_warm_up_in_stairs_but_not_leap() -> None:
    run = healthy_run(96)
    rate = 0.01 * np.minimum(0.01 + (run.step // 24) / 3, 1.0)
    plain = header(effective={"groups": {"pg0": {"lr": 0.01}}})
    run = replace(run, rates={"pg0": rate}, lr=rate)
    assert look(run, plain) == []
    (found,) = look(leapt(run, 100.0, 80), plain)
    assert (found.severity, found.first_step) == ("critical", 80)


def test_the_remedy_does_not_name_a_rescue_that_is_on() -> None:
    head = settings_of(rescue="auto")
    (found,) = look(leapt(stock_run(head), 500.0, 40), head)
    assert "rescue=auto" not in found.remedy
    (found,) = look(leapt(stock_run(head), 500.0, 40), settings_of())
    assert "rescue=auto" in found.remedy


def test_the_cause_names_factor_and_step() -> None:
    head = settings_of(warmup=3)
    context = DiagnosisContext(leapt(stock_run(head), 512.0, 20, "weight"), header=head)
    causes = rank_causes(context, list(RateLeap().look(context)))
    assert causes[0].name == "learning_rate"
    assert causes[0].evidence == "the learning rate jumped by a factor of 512 at step 20"


@settings(max_examples=60)
@given(data=st.data())
def test_no_rates_make_the_rule_raise_or_retract(data: st.DataObject) -> None:
    values = st.sampled_from([0.0, 1e-9, 0.001, 0.01, 0.5, 5.0, 1e300, -1.0, np.inf, np.nan])
    run = healthy_run(30)
    rates = {
        name: np.array(data.draw(st.lists(values, min_size=30, max_size=30)))
        for name in ("weight", "bias")
    }
    attempt = np.array(sorted(data.draw(st.lists(st.integers(0, 2), min_size=30, max_size=30))))
    run = replace(run, rates=rates, attempt=attempt, events=(event("resume", 7),))
    head = data.draw(st.sampled_from([None, settings_of(), header(effective={"groups": None})]))
    rank = {"warning": 1, "critical": 2}
    before: list[Finding] = []
    for rows in range(1, 31):
        now = look(cut(run, rows), head)
        for old in before:
            assert now
            assert rank[now[0].severity] >= rank[old.severity]
            same = now[0].severity == old.severity
            assert not same or now[0].first_step == old.first_step
        before = now
