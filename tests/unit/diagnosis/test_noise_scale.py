"""Gradient noise scale: estimates on gradients with a known mean and covariance."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from yolo_stability.diagnosis.examples import healthy_run
from yolo_stability.diagnosis.noise_scale import (
    StepNoise,
    epoch_length,
    excess_of,
    noise_scale,
    step_noise,
)
from yolo_stability.trace.arrays import Floats, Ints

MEAN = np.array([3.0, -4.0, 0.0, 0.0, 0.0, 0.0])  # |G|^2 = 25
DEVIATION = np.array([6.0, 1.0, 2.0, 5.0, 3.0, 5.0])  # tr(Sigma) = 100
SIGNAL, NOISE = 25.0, 100.0


def norms(gradients: Floats) -> tuple[Floats, Floats]:
    """Return norms of the first micro-batch and of the sum, for (steps, micro-batches, dim)."""
    return np.linalg.norm(gradients[:, 0], axis=1), np.linalg.norm(gradients.sum(axis=1), axis=1)


def drawn(steps: int, summed: int, seed: int, mean: Floats = MEAN) -> tuple[Floats, Floats, Ints]:
    rng = np.random.default_rng(seed)
    micro, total = norms(mean + DEVIATION * rng.normal(size=(steps, summed, mean.size)))
    return micro, total, np.full(steps, summed)


def without_replacement(
    steps: int, summed: int, epoch: int, seed: int
) -> tuple[Floats, Floats, Ints]:
    """Steps with micro-batches of an epoch that has exactly the mean and covariance."""
    rng = np.random.default_rng(seed)
    one = rng.normal(size=(epoch, MEAN.size))
    one = (one - one.mean(axis=0)) / one.std(axis=0) * DEVIATION + MEAN
    micro, total = norms(one[np.array([rng.permutation(epoch)[:summed] for _ in range(steps)])])
    return micro, total, np.full(steps, summed)


@pytest.mark.parametrize("summed", [2, 4, 8, 64])
def test_the_estimates_are_those_of_known_gradients(summed: int) -> None:
    estimates = step_noise(*drawn(40_000, summed, seed=summed))
    found = noise_scale(estimates)
    assert found.steps == 40_000
    for mean, each, true in (
        (found.signal, estimates.signal, SIGNAL),
        (found.noise, estimates.noise, NOISE),
    ):
        assert abs(mean - true) < 4 * each.std() / 200  # 4 standard errors
    assert found.micro_batches == pytest.approx(NOISE / SIGNAL, rel=0.1)


def test_steps_that_sum_different_numbers_go_together() -> None:
    """Varying accumulation; sums of one, or steps not sampled, give no estimate."""
    parts = [drawn(20_000, summed, seed=7) for summed in (1, 2, 3, 4)]
    micro, total, summed = (np.concatenate(values) for values in zip(*parts, strict=True))
    micro[-20_000::2] = np.nan
    total[-19_999] = np.inf
    found = noise_scale(step_noise(micro, total, summed))
    assert found.steps == 50_000 - 1
    assert found.signal == pytest.approx(SIGNAL, rel=0.06)
    assert found.noise == pytest.approx(NOISE, rel=0.03)


@pytest.mark.parametrize(("summed", "epoch"), [(2, 4), (4, 10), (8, 10), (10, 10)])
def test_an_epoch_without_replacement_biases_nothing(summed: int, epoch: int) -> None:
    norms_and_count = without_replacement(40_000, summed, epoch, seed=3)
    corrected = noise_scale(step_noise(*norms_and_count, epoch))
    assert corrected.signal == pytest.approx(SIGNAL, rel=0.06)
    assert corrected.noise == pytest.approx(NOISE, rel=0.03)
    plain = noise_scale(step_noise(*norms_and_count))
    assert plain.signal == pytest.approx(SIGNAL - NOISE / (epoch - 1), rel=0.06, abs=0.4)


def test_no_signal_is_an_infinite_scale_and_no_step_none() -> None:
    estimates = step_noise(
        np.array([4.0]), np.array([4.0]), np.array([2])
    )  # the sum is no longer than one of two
    assert noise_scale(estimates).signal < 0
    assert noise_scale(estimates).micro_batches == math.inf
    assert math.isnan(
        noise_scale(step_noise(np.full(3, np.nan), np.ones(3), np.full(3, 4))).micro_batches
    )
    with np.errstate(all="raise"):
        assert step_noise(np.array([1e200]), np.array([1e200]), np.array([2])).rows.size == 0


def test_the_lower_bound_of_the_excess_is_below_the_truth_and_near_it() -> None:
    """Noise over signal of a step of four is 100 / 4 / 25 = 1, an upper bound."""
    least = excess_of(step_noise(*drawn(64_000, 4, seed=1)), window=64, hop=64, errors=3.0).least
    assert least.size == 1000
    assert np.mean(least > 1.0) < 0.01
    longer = excess_of(
        step_noise(*drawn(64_000, 4, seed=1)), window=16_000, hop=16_000, errors=3.0
    ).least
    assert ((longer > 0.85) & (longer < 1.0)).all()
    quiet = excess_of(
        step_noise(*drawn(6_400, 4, seed=1, mean=MEAN * 10)), window=64, hop=64, errors=3.0
    ).least
    assert quiet.max() < 0.02  # the truth is 0.01
    loud = excess_of(
        step_noise(*drawn(16_000, 4, seed=1, mean=MEAN / 10)), window=16_000, hop=1, errors=3.0
    ).least
    assert loud[0] > 5  # the truth is 100


def test_windows_end_at_rows_that_were_sampled() -> None:
    estimates = StepNoise(
        rows=np.arange(0, 100, 10),
        signal=np.ones(10),
        noise=np.full(10, 8.0),
        summed=np.full(10, 4),
    )
    found = excess_of(estimates, window=4, hop=3, errors=3.0)
    assert found.rows.tolist() == [30, 60, 90]
    np.testing.assert_allclose(found.least, 2.0)
    assert excess_of(estimates, window=11, hop=1, errors=3.0).rows.size == 0


def test_an_epoch_is_as_long_as_was_seen_so_far() -> None:
    run = replace(
        healthy_run(9),
        accumulate=np.array([1, 2, 2, 3, 1, 3, 4, 2, 2]),
        epoch=np.array([0, 0, 0, 1, 1, 1, 1, 1, 2]),
        attempt=np.array([0, 0, 0, 0, 0, 0, 0, 1, 1]),
    )
    assert epoch_length(run).tolist() == [1, 3, 5, 5, 5, 7, 11, 11, 11]
    assert epoch_length(healthy_run(0)).size == 0
