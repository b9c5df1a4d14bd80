"""Rates that warm-up and schedule call for, against recorded runs of Ultralytics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from odd_runs import cut, golden_folders
from traces import header

from yolo_stability.diagnosis.examples import event, healthy_run
from yolo_stability.diagnosis.schedule import StockSchedule
from yolo_stability.trace import load_trace
from yolo_stability.trace.arrays import as_series

SETTINGS = {"task": "detect", "epochs": 6, "batches_per_epoch": 16, "warmup_epochs": 1}
GROUPS = {"weight": {"lr": 0.005}, "bias": {"lr": 0.005}}


def stock(requested: dict[str, Any] | None = None, **effective: Any) -> StockSchedule | None:
    return StockSchedule.of(
        header(requested=requested or {}, effective={**SETTINGS, "groups": GROUPS, **effective})
    )


@pytest.mark.parametrize("folder", golden_folders(), ids=lambda f: f.name)
def test_recorded_rates_follow_from_the_settings(folder: Path) -> None:
    """Also with accumulated gradients, whose steps straddle epochs."""
    trace = load_trace(folder)
    run, plan = as_series(trace), StockSchedule.of(trace.header)
    assert plan is not None
    place, bias = plan.warmup_place(run)
    for group, rates in run.rates.items():
        np.testing.assert_allclose(plan.rates(group, run, place, bias), rates, atol=1e-8)


@pytest.mark.parametrize("rows", [1, 17, 40])
def test_the_count_of_iterations_needs_no_later_step(rows: int) -> None:
    plan = stock()
    assert plan is not None
    run = replace(healthy_run(), accumulate=np.full(96, 3))
    whole, part = plan.iterations(run), plan.iterations(cut(run, rows))
    np.testing.assert_array_equal(whole[:rows], part)


def test_a_restarted_epoch_counts_anew() -> None:
    plan, run = stock(), healthy_run(40)
    assert plan is not None
    again = replace(run, attempt=(run.step >= 20).astype(np.int64))
    assert plan.iterations(again).tolist() == [*range(20), *range(16, 28), *range(32, 40)]


@pytest.mark.parametrize(
    ("effective", "requested"),
    [
        ({"time": 0.5}, {}),
        ({"epochs": None}, {}),
        ({"batches_per_epoch": 0}, {}),
        ({"groups": None}, {}),
    ],
    ids=str,
)
def test_some_runs_have_no_known_schedule(
    effective: dict[str, Any], requested: dict[str, Any]
) -> None:
    assert stock(requested, **effective) is None
    assert StockSchedule.of(None) is None


def test_a_cosine_ends_at_the_final_share() -> None:
    plan = stock({"cos_lr": True, "lrf": 0.1})
    assert plan is not None
    assert plan.share(np.array([0, 3, 6])).tolist() == pytest.approx([1.0, 0.55, 0.1])


def test_a_rescue_repeats_a_part_of_the_warm_up() -> None:
    plan, run = stock(), healthy_run(24)
    assert plan is not None
    data = {"warmup_back": 6, "warmup_bias_lr": 0.05}
    place, bias = plan.warmup_place(replace(run, events=(event("rescue", 10, data),)))
    assert place.tolist() == [*range(10), *range(4, 18)]
    assert bias.tolist() == [0.1] * 10 + [0.05] * 14
