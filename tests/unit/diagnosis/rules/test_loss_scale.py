"""Criteria whose loss is far from their parts, and Ultralytics' own, which is not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from epoch_tables import learning, settings, stock
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from odd_runs import cut

from yolo_stability.core.findings import Finding
from yolo_stability.core.types import RunHeader
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import healthy_run
from yolo_stability.diagnosis.rules.loss_scale import LossScale
from yolo_stability.trace.arrays import RunSeries

NAN = math.nan
V8, POSE = ("box_loss", "cls_loss", "dfl_loss"), ("box_loss", "pose_loss", "cls_loss", "rle_loss")
RTDETR, CLASSIFY = ("giou_loss", "cls_loss", "l1_loss"), ("loss",)
TWO_HEADS = ("model.0 Conv", "model.4 C3k2", "model.16 C3k2", "model.23.cv2 Detect box",
             "model.23.one2one_cv3 Detect cls")  # fmt: skip


def look(run: RunSeries, header: RunHeader | None = None, **how: Any) -> list[Finding]:
    return list(LossScale().look(DiagnosisContext(run, header=header, **how)))


def scaled(factor: Any, names: Sequence[str] = V8, steps: int = 96, seed: int = 0) -> RunSeries:
    """Return a run whose loss is a multiple of the sum of its noisy parts."""
    rng = np.random.default_rng(seed)
    parts = {name: (1 + i) * rng.uniform(0.5, 1.5, steps) for i, name in enumerate(names)}
    total = np.sum(list(parts.values()), axis=0)
    return replace(healthy_run(steps), losses=parts, loss=total * factor)


# --- Ultralytics' own losses ----------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2, 16, 64, 512])
@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb"])
def test_sums_over_the_batch_are_usual_before_schema_2_and_means_since(
    task: str, batch: int
) -> None:
    assert look(scaled(batch), settings(1, task=task, batch=batch)) == []
    assert look(scaled(1), settings(2, task=task, batch=batch)) == []
    assert look(scaled(1 / batch), settings(2, task=task, batch=batch)) == []
    assert look(scaled(4 * batch), settings(1, task=task, batch=batch, world_size=4)) == []


@pytest.mark.parametrize("schema", [1, 2])
def test_losses_of_classification_are_not_summed(schema: int) -> None:
    assert look(scaled(1, CLASSIFY), settings(schema, task="classify", batch=64)) == []
    assert (
        look(scaled(2, CLASSIFY), settings(schema, task="classify", batch=64, world_size=2)) == []
    )


@pytest.mark.parametrize("factor", [4, 7, 14, 20])
def test_rtdetr_lists_the_last_of_its_layers(factor: float) -> None:
    assert look(scaled(factor, RTDETR), settings(task="detect", batch=16)) == []
    assert look(scaled(factor, RTDETR)) == []


@pytest.mark.parametrize("factor", [0.4, 1.5, 4.0])
def test_two_heads_list_the_parts_of_one(factor: float) -> None:
    run = replace(scaled(factor), names=TWO_HEADS)
    assert look(run, settings(task="detect", batch=16)) == []


def test_parts_that_cancel_out_do_not_count() -> None:
    run = scaled(1, POSE)
    parts = dict(run.losses)
    parts["rle_loss"] = 0.01 - np.sum([parts[name] for name in POSE[:3]], axis=0)
    assert look(replace(run, losses=parts), settings(task="pose", batch=8)) == []


def test_a_likelihood_that_is_negative_may_turn_the_sign() -> None:
    run = scaled(1, POSE)
    parts = {**run.losses, "rle_loss": -20 + run.losses["rle_loss"]}
    total = np.sum(list(parts.values()), axis=0)
    assert look(replace(run, losses=parts, loss=total), settings(task="pose", batch=8)) == []


# --- criteria of one's own ------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1e3, 100.0, 10.0, 1e-3, 0.01, -1.0])
@pytest.mark.parametrize("names", [V8, (*V8, "seg_loss"), CLASSIFY])
@pytest.mark.parametrize("schema", [1, 2])
def test_a_criterion_that_scales_its_loss_is_a_warning(
    factor: float, names: Sequence[str], schema: int
) -> None:
    usual = 16 if schema == 1 and names != CLASSIFY else 1
    task = "classify" if names == CLASSIFY else "detect"
    header = settings(schema, task=task, batch=16 if names != CLASSIFY else 2)
    (found,) = look(scaled(usual * factor, names), header)
    assert (found.severity, found.first_step, found.last_step) == ("warning", 0, 95)
    assert found.observed == pytest.approx(usual * factor)


@pytest.mark.parametrize("names", [V8, RTDETR, CLASSIFY, POSE])
@pytest.mark.parametrize("header", [None, settings(task="detect", batch=16)])
def test_a_loss_of_0_is_critical_at_the_end(names: Sequence[str], header: RunHeader | None) -> None:
    (found,) = look(scaled(0.0, names), header)
    assert (found.severity, found.observed, found.last_step) == ("critical", 0.0, 95)
    (live,) = look(scaled(0.0, names), header, live=True)
    assert live.severity == "warning"


def test_scaling_that_starts_later_is_dated() -> None:
    factor = np.where(np.arange(96) < 40, 1.0, 300.0)
    (found,) = look(scaled(factor), settings(task="detect", batch=16))
    assert (found.severity, found.first_step) == ("warning", 40)


@pytest.mark.parametrize("lasting", [1, 7])
def test_a_few_steps_are_no_evidence(lasting: int) -> None:
    factor = np.where(abs(np.arange(96) - 40) < lasting / 2, 1e3, 1.0)
    assert look(scaled(factor), settings(task="detect", batch=16)) == []


def test_two_heads_and_rtdetr_are_judged_more_loosely() -> None:
    header = settings(task="detect", batch=16)
    assert look(replace(scaled(1e3), names=TWO_HEADS), header) != []
    assert look(scaled(12e3, RTDETR), header) != []
    assert look(replace(scaled(4), names=TWO_HEADS), header) == []
    assert look(scaled(4), header) != []


# --- what is not known ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names", [(), ("box", "cls", "dfl"), ("box_loss", "temperature")], ids=["none", "prompt", "odd"]
)
def test_parts_that_need_not_add_up_are_silent(names: Sequence[str]) -> None:
    run = scaled(1e3, names) if names else healthy_run()
    assert look(run, settings(task="detect", batch=16)) == []


def test_without_settings_only_0_is_found() -> None:
    assert look(scaled(1e3)) == []
    assert look(scaled(1e3), settings(task="detect")) == []


def test_a_loop_of_ones_own_may_weigh_its_parts() -> None:
    assert look(scaled(1e3), replace(settings(), effective={"batch": 4})) == []


def test_a_run_without_a_trace_is_silent() -> None:
    assert list(LossScale().look(stock(learning(30)))) == []


ODD = st.sampled_from([0.0, 1.0, -1.0, 1e-30, 1e300, NAN, math.inf, -math.inf])


@pytest.mark.filterwarnings("error")
@hypothesis_settings(max_examples=80, deadline=None)
@given(data=st.data(), header=st.sampled_from([None, settings(task="detect", batch=16)]))
def test_no_run_makes_it_raise_and_what_was_found_stays_found(
    data: st.DataObject, header: RunHeader | None
) -> None:
    run = scaled(1, steps=data.draw(st.integers(1, 40)))
    columns = [*run.losses.values(), run.loss]
    for _ in range(data.draw(st.integers(0, 4))):
        column, begin = data.draw(st.sampled_from(columns)), data.draw(st.integers(0, 39))
        column[begin : begin + data.draw(st.integers(1, 20))] = data.draw(ODD)
    before = 0
    for steps in range(1, run.step.size + 1):
        found = look(cut(run, steps), header, live=True)
        assert len(found) >= before
        before = len(found)
    look(run, header)
