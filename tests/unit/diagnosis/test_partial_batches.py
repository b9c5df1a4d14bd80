"""A batch with fewer images is no swing where the loss is a sum, and one where it is a mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.diagnose import find_all
from yolo_stability.diagnosis.examples import healthy_run
from yolo_stability.diagnosis.rules.exploding import Exploding
from yolo_stability.diagnosis.rules.noise import Noise
from yolo_stability.trace.arrays import RunSeries


def partial(*, summed: bool = True, last: int = 6, every: int = 3) -> RunSeries:
    """150 images at batch 64, say: every third batch is a small one, and loss per image is steady."""
    run = healthy_run(192)
    images = np.where(np.arange(192) % every == every - 1, last, 64).astype(float)
    share = images / 64
    return replace(
        run,
        images=images,
        summed=summed,
        norm=run.norm * share,
        block_norm=run.block_norm * share.astype(np.float32),
    )


@pytest.mark.parametrize("last", [1, 6, 22, 63])
def test_no_rule_hears_a_smaller_batch(last: int) -> None:
    assert find_all(DiagnosisContext(partial(last=last))) == ()


def test_the_same_norms_of_a_mean_are_noise() -> None:
    found = list(Noise().look(DiagnosisContext(partial(summed=False))))
    assert [f.rule for f in found] == ["noise"]


def test_norms_are_scaled_to_the_usual_number_of_images() -> None:
    run = partial()
    context = DiagnosisContext(run)
    np.testing.assert_allclose(context.norm, healthy_run(192).norm)
    np.testing.assert_allclose(context.block_norm, healthy_run(192).block_norm, rtol=1e-6)
    unknown = replace(run, images=np.full(192, np.nan))
    np.testing.assert_array_equal(DiagnosisContext(unknown).norm, run.norm)
    mean = DiagnosisContext(replace(run, summed=False))
    np.testing.assert_array_equal(mean.norm, run.norm)
    assert mean.block_norm is run.block_norm


def test_a_control_is_scaled_in_the_same_way() -> None:
    whole = DiagnosisContext(healthy_run(192), controls=(partial(),))
    plain = DiagnosisContext(healthy_run(192), controls=(healthy_run(192),))
    np.testing.assert_allclose(whole.expected_norm, plain.expected_norm)
    rows = slice(0, 192)
    np.testing.assert_allclose(whole.block_ratio(1, rows), plain.block_ratio(1, rows), rtol=1e-5)


def test_a_real_leap_in_a_small_batch_is_heard() -> None:
    run = partial()
    norm = run.norm.copy()
    norm[100:110] *= 1000
    found = list(Exploding().look(DiagnosisContext(replace(run, norm=norm))))
    assert [f.severity for f in found] == ["critical"]


@pytest.mark.parametrize(("summed", "limit"), [(True, 4e4), (False, 3e5)])
def test_an_absurd_first_loss_is_that_of_an_image(summed: bool, limit: float) -> None:
    for factor, count in ((0.9, 0), (1.1, 1)):
        run = partial(summed=summed)
        loss = np.full(192, factor * limit)
        found = list(Exploding().look(DiagnosisContext(replace(run, loss=loss))))
        assert len(found) == count
