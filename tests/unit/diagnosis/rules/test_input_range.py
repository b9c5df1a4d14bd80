"""Inputs outside the range that a model was built for, and those that only look odd."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_runs import cut
from traces import header

from yolo_stability.core.findings import Finding
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import healthy_run
from yolo_stability.diagnosis.rules.input_range import InputRange
from yolo_stability.trace.arrays import RunSeries

STEPS = 200
ROWS = np.arange(STEPS)
SAMPLED = (ROWS < 64) | (ROWS % 4 == 0)


def with_inputs(low: Any = 0.0, high: Any = 1.0, mean: Any = 0.4, std: Any = 0.25) -> RunSeries:
    """Return a healthy run with inputs sampled as a training samples them."""
    values = {"input_min": low, "input_max": high, "input_mean": mean, "input_std": std}
    arrays = {k: np.where(SAMPLED, np.broadcast_to(v, STEPS), np.nan) for k, v in values.items()}
    return replace(healthy_run(STEPS), **arrays)


def scaled(factor: float, first: int = 0, last: int = STEPS) -> RunSeries:
    """Return a run whose inputs are multiplied by a factor in some steps."""
    by = np.where((first <= ROWS) & (last > ROWS), factor, 1.0)
    return with_inputs(0.0, by, 0.4 * by, 0.25 * by)


def look(run: RunSeries, task: str | None = "detect") -> list[Finding]:
    head = None if task is None else header(effective={"task": task})
    return list(InputRange().look(DiagnosisContext(run, header=head)))


def seen(run: RunSeries, task: str | None = "detect") -> tuple[str, int | None] | None:
    found = look(run, task)
    assert len(found) <= 1
    return (found[0].severity, found[0].first_step) if found else None


@pytest.mark.parametrize("task", ["detect", "pose", "segment", "classify", None])
def test_usual_inputs_are_silent(task: str | None) -> None:
    rng = np.random.default_rng(0)
    spread = 0.2 + 0.1 * rng.random(STEPS)
    assert seen(with_inputs(high=0.7 + 0.4 * rng.random(STEPS), std=spread), task) is None
    assert seen(replace(healthy_run(STEPS)), task) is None  # an older trace has no inputs


@pytest.mark.parametrize(
    "changed",
    [
        {"high": 0.06, "mean": 0.01, "std": 0.005},  # a night scene: 15 of 255 levels
        {"high": 0.3, "mean": 0.28, "std": 0.002},  # a thermal image of one temperature
        {"low": 0.447, "high": 0.447001, "std": 2e-6},
    ],
    ids=str,
)
def test_dark_and_even_scenes_are_silent(changed: dict[str, float]) -> None:
    assert seen(with_inputs(**changed)) is None


@pytest.mark.parametrize("first", [0, 40, 100])
def test_images_that_are_not_divided_are_critical(first: int) -> None:
    run = scaled(255.0, first)
    assert seen(run) == ("critical", first)
    (found,) = look(run)
    assert found.observed == pytest.approx(255)
    assert "255" in found.message
    assert seen(scaled(257.0, first)) == ("critical", first)  # sixteen bits divided by 255


@pytest.mark.parametrize("first", [0, 40, 100])
@pytest.mark.parametrize("task", ["detect", "classify", None])
def test_images_that_are_divided_twice_are_critical(task: str | None, first: int) -> None:
    run = scaled(1 / 255, first)
    assert seen(run, task) == ("critical", first)
    assert "more than once" in look(run, task)[0].message


def test_a_change_is_heard_within_few_steps() -> None:
    """By its first batch as a warning, and as critical after four."""
    run = scaled(255.0, 40)
    assert seen(cut(run, 40)) is None
    assert seen(cut(run, 41)) == ("warning", 40)
    assert seen(cut(run, 44)) == ("critical", 40)


@pytest.mark.parametrize("factor", [9.0, 1 / 12])
def test_a_change_within_the_range_is_critical_if_it_lasts(factor: float) -> None:
    assert seen(scaled(factor, 40), "classify") == ("critical", 40)
    assert seen(scaled(factor, 40, 46), "classify") == ("warning", 40)
    assert seen(scaled(factor, 40, 43), "classify") is None


@pytest.mark.parametrize("factor", [0.3, 1.9])
def test_mosaic_and_its_end_are_no_change(factor: float) -> None:
    by = np.where(ROWS >= 60, factor, 1.0)
    assert seen(with_inputs(std=0.2 * by)) is None


def test_one_hot_pixel_is_a_warning_and_an_infinite_one_has_no_number() -> None:
    assert seen(with_inputs(high=np.where(ROWS == 44, 1e6, 1.0))) == ("warning", 44)
    (found,) = look(with_inputs(high=np.where(ROWS == 44, np.inf, 1.0)))
    assert (found.severity, found.first_step, found.observed) == ("warning", 44, None)
    assert "infinity" in found.message


def test_a_normalization_is_usual_for_classification_only() -> None:
    run = with_inputs(low=-2.2, high=2.7, mean=0.0, std=1.0)
    assert seen(run, "classify") is None
    assert seen(run, None) is None
    assert seen(run, "detect") == ("warning", 0)
    assert seen(with_inputs(low=-120.0, high=130.0, std=60.0), "classify") == ("critical", 0)


def test_constant_images_are_critical_if_they_last() -> None:
    flat = np.where(ROWS >= 40, 0.0, 0.25)
    assert seen(with_inputs(std=flat)) == ("critical", 40)
    black = with_inputs(high=0.0, mean=0.0, std=0.0)
    assert seen(black) == ("critical", 0)
    few = np.where((ROWS >= 40) & (ROWS < 45), 0.0, 0.25)
    assert seen(with_inputs(std=few)) == ("warning", 40)
    one = np.where(ROWS % 30 == 7, 0.0, 0.25)  # a blank image in a batch of one
    assert seen(with_inputs(std=one)) is None


values = st.sampled_from([0.0, 1e-9, 0.001, 0.25, 1.0, 2.5, 255.0, -3.0, 1e30, np.inf, np.nan])


@settings(max_examples=25)
@given(data=st.data())
def test_no_inputs_make_the_rule_raise_or_retract(data: st.DataObject) -> None:
    run = healthy_run(40)
    names = ("input_min", "input_max", "input_mean", "input_std")
    pieces = st.lists(st.tuples(values, st.integers(1, 15)), min_size=1, max_size=6)
    for name in names:
        series = np.concatenate([np.full(n, v) for v, n in data.draw(pieces)])
        run = replace(run, **{name: np.resize(series, 40)})
    task = data.draw(st.sampled_from([None, "detect", "classify"]))
    rank = {"warning": 1, "critical": 2}
    before: list[Finding] = []
    for rows in range(1, 41):
        now = look(cut(run, rows), task)
        for old in before:
            assert now
            assert rank[now[0].severity] >= rank[old.severity]
            assert now[0].severity != old.severity or now[0].first_step == old.first_step
        before = now
