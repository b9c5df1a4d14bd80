"""A run's own past is the measure."""

from __future__ import annotations

import math

import pytest

from yolo_stability.guard.baseline import Baseline


def settled(loss: float = 10.0, norm: float = 100.0, steps: int = 8) -> Baseline:
    baseline = Baseline()
    assert all(baseline.assess(loss, norm) for _ in range(steps))
    return baseline


@pytest.mark.parametrize(
    ("loss", "norm"), [(math.nan, 1.0), (1.0, math.inf), (-math.inf, 1.0), (1.0, math.nan)]
)
def test_what_is_not_finite_is_never_healthy(loss: float, norm: float) -> None:
    assert not Baseline().assess(loss, norm)


def test_a_young_run_may_do_anything_finite() -> None:
    baseline = Baseline()
    assert all(baseline.assess(10.0**i, 10.0**i) for i in range(8))


def test_beyond_fifty_medians_of_the_norm() -> None:
    assert settled().assess(10.0, 4999.0)
    assert not settled().assess(10.0, 5001.0)


def test_beyond_five_medians_of_the_loss() -> None:
    assert settled().assess(49.9, 100.0)
    assert not settled().assess(50.1, 100.0)


def test_a_negative_loss_is_no_alarm() -> None:
    baseline = settled(loss=-3.0)
    assert baseline.assess(-30.0, 100.0)
    assert baseline.assess(2.0, 100.0)


def test_unhealthy_steps_do_not_become_the_norm() -> None:
    baseline = settled()
    assert [baseline.assess(10.0, 1e9) for _ in range(50)] == [False] * 50


def test_it_follows_a_run_that_calms_down() -> None:
    baseline = settled(norm=1000.0)
    assert all(baseline.assess(1.0, 1.0) for _ in range(200))
    assert not baseline.assess(1.0, 100.0)
