"""A run without NaN that has failed all the same."""

from __future__ import annotations

import math

import pytest

from yolo_stability.guard.outcome import Outcome


def outcome(losses: list[float], *, clip: float | None = None) -> str | None:
    watched = Outcome()
    for step, loss in enumerate(losses):
        watched.observe(step, loss, 0.0 if loss == 0 else 3.0, clip)
    return watched.failure()


def test_a_run_that_learns_is_fine() -> None:
    assert outcome([70.0 / (step + 1) for step in range(40)], clip=0.1) is None


@pytest.mark.parametrize("losses", [[-3.0] * 20, [0.5, 0.1, -0.2, *[-4.0] * 20]])
def test_a_negative_loss_is_fine(losses: list[float]) -> None:
    """The RLE loss of YOLO26 pose goes below zero."""
    assert outcome(losses) is None


def test_a_collapse_is_reported_with_its_first_step() -> None:
    assert outcome([70.0, 1e9, 0.0, 5.0, *[0.0] * 8]) == (
        "loss and gradients are exactly 0 since step 4: the run has failed without any NaN"
    )


def test_a_loss_that_ran_away_under_clipping() -> None:
    text = outcome([70.0, 80.0, 90.0, *[8e32] * 9], clip=1e-30)
    assert (
        text
        == "the loss ended at 8e+32, 1.14e+31 times that of the first step: clipping prevented NaN, not failure"
    )


def test_a_collapse_need_not_reach_zero() -> None:
    """As seen on YOLO26n under a thousandfold learning rate."""
    text = outcome([73.6, 7e5, 8e12, 4e10, 9e9, 1e-4, 4e-3, 6e-5, 1e-3, 8e-5])
    assert (
        text
        == "after a blow-up to 8e+12 the loss collapsed to 0.0001: the run has failed without any NaN"
    )


def test_a_spike_that_recovers_is_no_failure() -> None:
    assert outcome([70.0] * 10 + [1e9] + [60.0] * 10) is None


def test_too_few_steps_say_nothing() -> None:
    assert outcome([1.0, 0.0, 0.0, 0.0]) is None
    assert outcome([1.0, math.inf]) is None
