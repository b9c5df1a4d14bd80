"""Each clip against an independent implementation: torch, timm, numpy, or the paper."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.utils.agc import adaptive_clip_grad
from torch import Tensor, nn

from yolo_stability.core.errors import ConfigError
from yolo_stability.interventions.clips import make_clip
from yolo_stability.interventions.clips._base import Clip, Gradient
from yolo_stability.interventions.clips._ops import scale_to, shortening

SHAPES = [(8, 3, 3, 3), (8,), (1, 8, 1, 1), (4, 8), (4,), ()]
"""A convolution, a vector, a filter bank of one, a linear layer, its biases, a scalar."""


def make_params(
    seed: int, size: float = 1.0, shapes: Sequence[tuple[int, ...]] = SHAPES
) -> list[nn.Parameter]:
    """Return parameters with gradients of very different sizes."""
    generator = torch.Generator().manual_seed(seed)
    params = []
    for i, shape in enumerate(shapes):
        param = nn.Parameter(torch.randn(shape, generator=generator) * 10.0 ** -(i % 5))
        param.grad = torch.randn(shape, generator=generator) * size * 10.0 ** (i % 3 - 1)
        params.append(param)
    return params


def measured(params: Sequence[nn.Parameter]) -> Gradient:
    """Measure gradients with torch's own function."""
    total = torch.nn.utils.get_total_norm([p.grad for p in params if p.grad is not None])
    return Gradient(params=params, total=total, norm=float(total))


def clipped(clip: Clip, params: Sequence[nn.Parameter]) -> tuple[list[Tensor], float | None]:
    """Clip and return the gradients and the coefficient."""
    coefficient = clip.apply(measured(params))
    return [p.grad for p in params if p.grad is not None], None if coefficient is None else float(
        coefficient
    )


def of_norm(norm: float) -> list[nn.Parameter]:
    """Return one parameter whose gradient has this norm, exactly in float32."""
    param = nn.Parameter(torch.zeros(3))
    param.grad = torch.tensor([0.0, float(np.float32(norm)), 0.0])
    return [param]


def same(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    """Tell whether tensors are equal bit for bit."""
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


SIZES = st.sampled_from([1e-30, 1e-8, 1e-3, 1.0, 30.0, 1e6, 1e15])
SEEDS = st.integers(0, 10_000)


# --- norm and value: torch ------------------------------------------------------------------------


@given(seed=SEEDS, size=SIZES, bound=st.sampled_from([0.1, 1.0, 10.0, 1e4]))
def test_norm_is_torchs_bit_for_bit(seed: int, size: float, bound: float) -> None:
    reference = make_params(seed, size)
    total = torch.nn.utils.clip_grad_norm_(reference, bound)
    ours, coefficient = clipped(make_clip(f"norm:{bound}"), make_params(seed, size))
    assert same(ours, [p.grad for p in reference if p.grad is not None])
    assert coefficient == pytest.approx(min(1.0, bound / (float(total) + 1e-6)), rel=1e-12)


@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf, 1e30])
def test_norm_does_to_a_total_that_is_not_finite_what_torch_does(special: float) -> None:
    reference, ours = make_params(1), make_params(1)
    for params in (reference, ours):
        assert params[1].grad is not None
        params[1].grad[2] = special
    torch.nn.utils.clip_grad_norm_(reference, 10.0)
    _, coefficient = clipped(make_clip("norm:10"), ours)
    for a, b in zip(ours, reference, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=0, equal_nan=True)
    assert math.isnan(special) == math.isnan(coefficient or 0.0)
    assert special != 1e30 or (
        coefficient == 0 and not any(p.grad.any() for p in ours if p.grad is not None)
    )


@given(seed=SEEDS, size=SIZES, bound=st.sampled_from([1e-3, 0.5, 100.0]))
def test_value_is_torchs_bit_for_bit(seed: int, size: float, bound: float) -> None:
    reference = make_params(seed, size)
    torch.nn.utils.clip_grad_value_(reference, bound)
    ours, _ = clipped(make_clip(f"value:{bound}"), make_params(seed, size))
    assert same(ours, [p.grad for p in reference if p.grad is not None])


def test_value_bounds_infinite_elements_and_keeps_nan() -> None:
    params = of_norm(1.0)
    params[0].grad = torch.tensor([math.inf, -math.inf, 0.1])
    ours, coefficient = clipped(make_clip("value:0.5"), params)
    assert ours[0].tolist() == pytest.approx([0.5, -0.5, 0.1])
    assert coefficient == 0
    params[0].grad = torch.tensor([math.nan, 2.0, 0.1])
    ours, coefficient = clipped(make_clip("value:0.5"), params)
    assert ours[0][1:].tolist() == pytest.approx([0.5, 0.1])
    assert math.isnan(float(ours[0][0]))
    assert coefficient is not None
    assert math.isnan(coefficient)


# --- AGC: timm, and the paper ---------------------------------------------------------------------


@given(seed=SEEDS, size=SIZES, ratio=st.sampled_from([1e-3, 0.01, 0.16, 3.0]))
def test_agc_is_timms_bit_for_bit(seed: int, size: float, ratio: float) -> None:
    reference = make_params(seed, size)
    adaptive_clip_grad(reference, clip_factor=ratio)
    ours, _ = clipped(make_clip(f"agc:{ratio}"), make_params(seed, size))
    assert same(ours, [p.grad for p in reference if p.grad is not None])


def agc_by_the_paper(weight: Tensor, grad: Tensor, ratio: float) -> Tensor:
    """Apply equation 3 per unit: G <- ratio x W' / |G| x G if |G| / W' > ratio, W' = max(|W|, 1e-3)."""
    if weight.ndim < 2:
        weight, grad = weight.reshape(1, -1), grad.reshape(1, -1)
    rows = []
    for w, g in zip(weight.double(), grad.double(), strict=True):
        w_norm = max(math.sqrt(math.fsum(float(x) ** 2 for x in w.flatten())), 1e-3)
        g_norm = math.sqrt(math.fsum(float(x) ** 2 for x in g.flatten()))
        rows.append(g * (ratio * w_norm / g_norm) if g_norm / w_norm > ratio else g)
    return torch.stack(rows)


@given(
    seed=SEEDS,
    size=st.sampled_from([1e-3, 1.0, 30.0, 1e6]),
    ratio=st.sampled_from([1e-3, 0.01, 0.16, 3.0]),
)
@settings(max_examples=30)
def test_agc_is_the_papers_equation(seed: int, size: float, ratio: float) -> None:
    before, params = make_params(seed, size), make_params(seed, size)
    clipped(make_clip(f"agc:{ratio}"), params)
    for old, new in zip(before, params, strict=True):
        assert old.grad is not None
        assert new.grad is not None
        expected = agc_by_the_paper(old.detach(), old.grad, ratio)
        torch.testing.assert_close(
            new.grad.double(), expected.reshape(old.shape), rtol=1e-5, atol=1e-12
        )


@pytest.mark.parametrize(("special", "rest"), [(math.nan, math.nan), (math.inf, 0.0)])
def test_agc_keeps_a_bad_number_within_its_unit(special: float, rest: float) -> None:
    params, untouched = make_params(3), make_params(3)
    assert params[0].grad is not None
    params[0].grad[2, 0, 0, 0] = special
    ours, coefficient = clipped(make_clip("agc:0.01"), params)
    expected, _ = clipped(make_clip("agc:0.01"), untouched)
    others = [i for i in range(8) if i != 2]
    assert same([ours[0][others], *ours[1:]], [expected[0][others], *expected[1:]])
    unit = ours[0][2].flatten()
    assert math.isnan(float(unit[0]))
    torch.testing.assert_close(unit[1:], torch.full_like(unit[1:], rest), equal_nan=True)
    assert coefficient is not None
    assert math.isnan(coefficient)


# --- AutoClip: numpy ------------------------------------------------------------------------------


@given(
    norms=st.lists(st.floats(2.0**-20, 2.0**40, width=32), min_size=1, max_size=40),
    percentile=st.sampled_from([1.0, 10.0, 33.3, 50.0, 90.0, 100.0]),
)
def test_autoclip_clips_to_numpys_percentile_of_the_history(
    norms: list[float], percentile: float
) -> None:
    clip = make_clip(f"auto:{percentile}")
    for i, norm in enumerate(norms):
        bound = float(np.percentile(norms[: i + 1], percentile))  # the present norm belongs to it
        ours, coefficient = clipped(clip, of_norm(norm))
        reference = of_norm(norm)
        torch.nn.utils.clip_grad_norm_(reference, bound)
        torch.testing.assert_close(ours[0], reference[0].grad, rtol=1e-6, atol=0)
        assert coefficient == pytest.approx(min(1.0, bound / (norm + 1e-6)), rel=1e-9)


def test_autoclip_learns_nothing_from_what_is_not_finite() -> None:
    clip = make_clip("auto:50")
    for norm in (1.0, 2.0, 3.0):
        clipped(clip, of_norm(norm))
    ours, coefficient = clipped(clip, of_norm(math.inf))
    assert coefficient == 0
    assert math.isnan(float(ours[0][1]))  # inf x 0, as torch's own clip would leave it
    clipped(clip, of_norm(math.nan))
    _, coefficient = clipped(clip, of_norm(100.0))
    assert coefficient == pytest.approx(np.percentile([1, 2, 3, 100], 50) / 100, rel=1e-6)


@pytest.mark.parametrize("text", ["auto:10", "zclip:2.5"])
def test_a_clip_without_history_leaves_an_overflowing_gradient_alone(text: str) -> None:
    params = of_norm(1e30)  # finite, but its square is not
    ours, coefficient = clipped(make_clip(text), params)
    assert float(ours[0][1]) == float(np.float32(1e30))
    assert coefficient == 1


def test_autoclip_holds_a_long_history_in_little_memory() -> None:
    clip = make_clip("auto:10")
    for norm in itertools.chain(range(1000, 0, -1), range(1000, 2000)):
        clip.apply(Gradient(params=[], total=torch.tensor(float(norm)), norm=float(norm)))
    history = clip._history  # type: ignore[attr-defined]
    assert list(history) == sorted([*range(1, 1001), *range(1000, 2000)])
    assert history.itemsize == 8


# --- ZClip: the paper -----------------------------------------------------------------------------


def zclip_by_the_paper(norms: Sequence[float], threshold: float) -> list[float]:
    """Return the norm after clipping at each step, as in Kumar et al. 2025 with their constants."""
    alpha, warm_up, epsilon = 0.97, 25, 1e-6
    clipped_norms = list(norms[:warm_up])
    if len(norms) < warm_up:
        return clipped_norms
    mean, variance = statistics.fmean(clipped_norms), statistics.pvariance(clipped_norms)
    for norm in norms[warm_up:]:
        z = (norm - mean) / (math.sqrt(variance) + epsilon)
        kept = norm if z <= threshold else mean + threshold * math.sqrt(variance) * threshold / z
        mean = alpha * mean + (1 - alpha) * kept
        variance = alpha * variance + (1 - alpha) * (kept - mean) ** 2
        clipped_norms.append(kept)
    return clipped_norms


@given(
    norms=st.lists(
        st.floats(1.0, 9.0, width=32) | st.floats(1.0, 2.0**20, width=32), min_size=20, max_size=60
    ),
    threshold=st.sampled_from([0.5, 1.0, 2.5, 4.0]),
)
@settings(max_examples=50)
def test_zclip_is_the_papers(norms: list[float], threshold: float) -> None:
    clip = make_clip(f"zclip:{threshold}")
    after = [float(clipped(clip, of_norm(norm))[0][0].norm()) for norm in norms]
    assert after == pytest.approx(zclip_by_the_paper(norms, threshold), rel=1e-5)


def test_zclip_by_hand() -> None:
    """Mean 10 and deviation 2: a norm of z = 5 is reduced to 10 + 2.5^2/5 x 2."""
    clip = make_clip("zclip:2.5")
    for norm in [*[8.0, 12.0] * 12, 10.0]:
        assert clipped(clip, of_norm(norm))[1] == 1
    deviation = math.sqrt(24 * 4 / 25)
    assert clipped(clip, of_norm(10.0))[1] == 1
    deviation *= math.sqrt(0.97)  # the variance has learned a norm at the mean
    ours, coefficient = clipped(clip, of_norm(10 + 5 * deviation))
    assert float(ours[0][1]) == pytest.approx(10 + 2.5**2 / 5 * deviation, rel=1e-5)
    assert coefficient == pytest.approx((10 + 1.25 * deviation) / (10 + 5 * deviation), rel=1e-5)


def test_zclip_brings_an_overflow_to_zero_and_learns_nothing_from_it() -> None:
    clip, undisturbed = make_clip("zclip:2.5"), make_clip("zclip:2.5")
    for norm in [8.0, 12.0] * 20:
        clipped(clip, of_norm(norm))
        clipped(undisturbed, of_norm(norm))
    ours, coefficient = clipped(clip, of_norm(1e30))
    assert (float(ours[0].abs().max()), coefficient) == (0, 0)
    ours, coefficient = clipped(clip, of_norm(math.nan))
    assert torch.isnan(ours[0]).all()
    assert math.isnan(coefficient or 0.0)
    assert same(clipped(clip, of_norm(50.0))[0], clipped(undisturbed, of_norm(50.0))[0])


# --- none, and what all share ---------------------------------------------------------------------


def test_none_touches_nothing() -> None:
    params = make_params(5, 1e6)
    ours, coefficient = clipped(make_clip("none"), params)
    assert same(ours, [p.grad for p in make_params(5, 1e6) if p.grad is not None])
    assert coefficient is None


def test_only_norm_has_a_fixed_bound() -> None:
    bounds = {
        text: make_clip(text).max_norm()
        for text in ("norm:3", "value:1", "agc", "auto", "zclip", "none")
    }
    assert bounds == {
        "norm:3": 3.0,
        "value:1": None,
        "agc": None,
        "auto": None,
        "zclip": None,
        "none": None,
    }


def test_no_bound_touches_nothing_and_a_zero_gradient_is_not_shortened() -> None:
    params = of_norm(math.nan)
    assert scale_to(measured(params), math.inf) == 1
    assert params[0].grad is not None
    assert params[0].grad[0] == 0
    assert float(shortening(measured(of_norm(0.0)))) == 1


@pytest.mark.parametrize(
    ("text", "expected_text"),
    [
        ("nrom:10", "clip=nrom:10: there is no clip 'nrom'. Did you mean 'norm'"),
        ("norm:", "clip=norm:: the number is missing after the colon; write norm:NUMBER."),
        ("norm:x", "clip=norm:x: 'x' is not a number after the colon; write norm:NUMBER."),
        (
            "norm:0",
            "Invalid value norm:0: the largest total norm must be a finite number above 0, such "
            "as norm:10",
        ),
        ("norm:inf", "Invalid value norm:inf"),
        ("norm:nan", "Invalid value norm:nan"),
        (
            "value",
            "'value' needs the largest magnitude of an element, for example value:0.5.",
        ),
        ("auto:100.5", "must be a finite number above 0 and at most 100, such as auto:10."),
        ("none:3", "Invalid value none:3: none takes no number. Write none alone."),
        ("", "there is no clip ''"),
    ],
)
def test_mistakes_get_one_sentence(text: str, expected_text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_clip(text)
    assert expected_text in str(caught.value)


@given(value=st.floats(min_value=1e-300, max_value=1e300))
def test_what_a_clip_prints_reads_back_the_same(value: float) -> None:
    clip = make_clip(f"norm:{value!r}")
    assert make_clip(str(clip)).value == value
