"""Since when a fault shows, on runs whose moment is known."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from labelled import GRADUAL, SUDDEN, run, steps

from yolo_stability.studies.fault_detection.onset import effect_of, references

FLAT = [8.0] * 20


def test_a_gradual_fault_shows_from_the_first_of_three_steps_outside(tmp_path: Path) -> None:
    healthy = [run(tmp_path / "a", steps(FLAT)), run(tmp_path / "b", steps([10.0] * 20))]
    # the largest healthy loss is 10: 20 is on its border, 21 outside; two steps outside are none
    losses = [8.0] * 5 + [21.0, 21.0, 20.0] + [21.0] * 12
    effect = effect_of(run(tmp_path / "x", steps(losses), GRADUAL), healthy)
    assert (effect.onset, effect.exists, effect.harmed, effect.first_bad) == (8, True, False, None)
    low = effect_of(run(tmp_path / "y", steps([8.0] * 12 + [3.9] * 8), GRADUAL), healthy)
    assert low.onset == 12
    border = effect_of(run(tmp_path / "z", steps([8.0] * 12 + [4.0] * 8), GRADUAL), healthy)
    assert (border.onset, border.exists) == (None, False)


def test_norms_may_be_ten_times_away(tmp_path: Path) -> None:
    healthy = [run(tmp_path / "a", steps(FLAT))]  # a total norm of 13
    norms = (
        [(3.0, 4.0, 0.0, 12.0)] * 6 + [(129.0, 0.0, 0.0, 0.0)] * 7 + [(131.0, 0.0, 0.0, 0.0)] * 7
    )
    assert effect_of(run(tmp_path / "x", steps(FLAT, norms), GRADUAL), healthy).onset == 13


def test_a_value_that_is_not_finite_shows_at_once(tmp_path: Path) -> None:
    healthy = [run(tmp_path / "a", steps(FLAT))]
    norms = [(3.0, 4.0, 0.0, 12.0)] * 20
    norms[7] = (3.0, math.nan, 0.0, 12.0)
    effect = effect_of(run(tmp_path / "x", steps(FLAT, norms), GRADUAL), healthy)
    assert (effect.onset, effect.first_bad) == (7, 7)


def test_what_the_guard_left_out_was_not_finite_either(tmp_path: Path) -> None:
    healthy = [run(tmp_path / "a", steps(FLAT))]
    records = [
        replace(r, skipped="guard" if r.step == 5 else None) for r in steps(FLAT)
    ]  # a buffer was to blame
    effect = effect_of(run(tmp_path / "x", records, GRADUAL), healthy)
    assert (effect.onset, effect.first_bad) == (5, 5)


def test_a_sudden_fault_shows_at_its_moment_if_anything_shows_from_then_on(tmp_path: Path) -> None:
    healthy = [run(tmp_path / "a", steps(FLAT))]
    late = effect_of(run(tmp_path / "x", steps([8.0] * 13 + [99.0] * 7), SUDDEN), healthy)
    assert late.onset == 10
    before = effect_of(
        run(tmp_path / "y", steps([8.0] * 2 + [99.0] * 4 + [8.0] * 14), SUDDEN), healthy
    )
    assert (before.onset, before.exists) == (None, False)


def test_a_run_that_ends_outside_needs_no_three_steps(tmp_path: Path) -> None:
    healthy = [run(tmp_path / "a", steps(FLAT))]
    assert effect_of(run(tmp_path / "x", steps([8.0] * 6 + [99.0]), GRADUAL), healthy).onset == 6


def test_loss_and_norm_are_compared_per_image(tmp_path: Path) -> None:
    healthy = [run(tmp_path / "a", steps(FLAT))]
    one = run(
        tmp_path / "x", steps([1.0] * 20, [(3 / 8, 4 / 8, 0.0, 12 / 8)] * 20), GRADUAL, batch=1
    )
    assert not effect_of(one, healthy).exists
    same = run(tmp_path / "y", steps([1.0] * 20), GRADUAL, batch=8)
    assert effect_of(same, healthy).onset == 0


@pytest.mark.parametrize(("fitness", "harmed"), [(0.19, True), (0.21, False), (None, False)])
def test_harm_is_a_quarter_of_the_median_fitness(
    tmp_path: Path, fitness: float | None, harmed: bool
) -> None:
    healthy = [
        run(tmp_path / f"h{i}", steps(FLAT), fitness=f) for i, f in enumerate((0.0, 0.8, 0.9))
    ]
    effect = effect_of(run(tmp_path / "x", steps(FLAT), GRADUAL, fitness=fitness), healthy)
    assert (effect.harmed, effect.exists, effect.onset) == (harmed, harmed, None)


def test_nothing_can_be_harmed_where_nothing_was_learned(tmp_path: Path) -> None:
    healthy = [run(tmp_path / "h", steps(FLAT), fitness=0.04)]
    assert not effect_of(run(tmp_path / "x", steps(FLAT), GRADUAL, fitness=0.0), healthy).harmed


def test_references_share_task_model_and_if_possible_optimizer(tmp_path: Path) -> None:
    adam = run(tmp_path / "a", steps(FLAT))
    sgd = run(tmp_path / "b", steps(FLAT), optimizer="SGD")
    pose = run(tmp_path / "c", steps(FLAT), task="pose")
    new = run(tmp_path / "d", steps(FLAT), model="yolo26n")
    healthy = [adam, sgd, pose, new]
    assert references(run(tmp_path / "x", steps(FLAT), GRADUAL, optimizer="SGD"), healthy) == [sgd]
    assert references(run(tmp_path / "y", steps(FLAT), GRADUAL, optimizer="MuSGD"), healthy) == [
        adam,
        sgd,
    ]
    assert references(adam, healthy) == [sgd]
