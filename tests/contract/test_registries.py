"""Contract of every clip, normalization, initialization and fault, including new files."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from yolo_stability.core.errors import ConfigError
from yolo_stability.interventions.choice import Choice
from yolo_stability.interventions.clips import CLIPS, make_clip
from yolo_stability.interventions.clips._base import Clip, Gradient
from yolo_stability.interventions.faults import FAULTS, parse_fault
from yolo_stability.interventions.faults._base import Fault
from yolo_stability.interventions.inits import INITS, make_init
from yolo_stability.interventions.norms import NORMS, make_norm

Make = Callable[[str], Any]
KEYS: dict[str, tuple[Any, Make]] = {
    "clip": (CLIPS, make_clip),
    "norm": (NORMS, make_norm),
    "init": (INITS, make_init),
    "fault": (FAULTS, parse_fault),
}
ENTRIES = [
    pytest.param(key, name, id=f"{key}={name}")
    for key, (registry, _) in KEYS.items()
    for name in registry
]


def example(kind: type[Choice]) -> str:
    """Return an entry as a user would write it, with a number or moment where it needs one."""
    if kind.argument is not None:
        return f"{kind.name()}:{kind.argument.example:g}"
    return f"{kind.name()}@3" if issubclass(kind, Fault) else kind.name()


@pytest.mark.parametrize(("key", "name"), ENTRIES)
def test_an_entry_is_named_after_its_file_and_documented(key: str, name: str) -> None:
    registry, _ = KEYS[key]
    cls = registry[name]
    assert cls.name() == name
    assert inspect.getmodule(cls).__all__ == [cls.__name__]
    line = registry.summaries[name]
    assert line == str(inspect.getmodule(cls).__doc__).splitlines()[0]
    assert re.fullmatch(rf"`{key}={name}([:@][\d.]+)?`: \S.*\.", line)
    assert str(cls.__doc__).splitlines()[0].endswith(".")


@pytest.mark.parametrize(("key", "name"), ENTRIES)
def test_the_example_of_the_docstring_works_and_reads_back(key: str, name: str) -> None:
    registry, make = KEYS[key]
    written = registry.summaries[name].split("`")[1].removeprefix(f"{key}=")
    assert written == example(registry[name])
    made = make(written)
    assert str(made) == written
    assert type(made) is registry[name]


@pytest.mark.parametrize(("key", "name"), ENTRIES)
def test_a_bare_kind_reads_back_or_reports_what_is_missing(key: str, name: str) -> None:
    registry, make = KEYS[key]
    argument = registry[name].argument
    needs = (argument is not None and argument.default is None) or (
        argument is None and key == "fault"
    )
    if needs:
        with pytest.raises(ConfigError, match=f"(write|for example) {name}[:@]"):
            make(name)
    else:
        made = make(name)
        again = make(str(made))
        assert str(again) == str(made)
        assert again.value == made.value or math.isnan(made.value)


@pytest.mark.parametrize(("key", "name"), ENTRIES)
def test_an_impossible_number_gets_a_text_with_a_possible_one(key: str, name: str) -> None:
    registry, make = KEYS[key]
    argument = registry[name].argument
    if argument is None:
        with pytest.raises(ConfigError, match=f"{name}.*takes no number.*[Ww]rite {name}"):
            make(f"{name}:3")
        return
    bad = [argument.low, -1.0, math.inf, -math.inf, math.nan]
    bad += [argument.high * 2] if math.isfinite(argument.high) else []
    for number in bad:
        with pytest.raises(ConfigError, match=rf"{name}:.*{argument.meaning}.*such as {name}:"):
            make(f"{name}:{number}")
    for text in ("x", ""):
        with pytest.raises(ConfigError, match=f"write {name}:NUMBER"):
            make(f"{name}:{text}")
    assert argument.low < argument.example <= argument.high


@pytest.mark.parametrize(("key", "name"), ENTRIES)
def test_a_slip_of_the_finger_gets_the_nearest_name_and_all(key: str, name: str) -> None:
    registry, make = KEYS[key]
    slip = f"{name}x"
    with pytest.raises(ConfigError) as caught:
        make(slip)
    text = str(caught.value)
    assert text.startswith(f"{key}={slip}: there is no {registry.noun} '{slip}'. Did you mean '")
    assert f"'{name}'" in text.partition("Choose from")[0]
    assert text.endswith(f"Choose from {', '.join(registry)}.")


@pytest.mark.parametrize("key", KEYS)
@given(
    text=st.text(max_size=12)
    | st.from_regex(r"\A(norm|gain|nan_pixel|nan_grad)[:@][-+\d.,eE_@]{0,8}\Z")
)
@settings(max_examples=100)
def test_no_text_raises_anything_else(key: str, text: str) -> None:
    _, make = KEYS[key]
    with suppress(ConfigError):
        made = make(text)
        assert str(make(str(made))) == str(made)


# --- clips ----------------------------------------------------------------------------------------


def steps(seed: int, size: float, *, foreach: bool | None = None) -> Gradient:
    """Return the measured gradient of a small model, one parameter of it without."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(6, 3, 3, 3), (6,), (4, 6), ()]
    params = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    for i, param in enumerate(params):
        param.grad = torch.randn(param.shape, generator=generator) * size * 10.0 ** (i - 1)
    total = torch.nn.utils.get_total_norm([p.grad for p in params if p.grad is not None])
    return Gradient(params=params, total=total, norm=float(total), foreach=foreach)


def norm_of(gradient: Gradient) -> float:
    """Return the present total norm, in float64."""
    return math.sqrt(
        math.fsum(
            float(p.grad.double().square().sum()) for p in gradient.params if p.grad is not None
        )
    )


def make_example(name: str) -> Clip:
    """Return a clip as its docstring writes it."""
    return make_clip(example(CLIPS[name]))


@pytest.mark.parametrize("name", list(CLIPS))
@given(sizes=st.lists(st.floats(1e-12, 1e15), min_size=1, max_size=35), seed=st.integers(0, 1000))
@settings(max_examples=25)
def test_a_clip_shortens_and_returns_the_factor(name: str, sizes: list[float], seed: int) -> None:
    clip = make_example(name)
    for i, size in enumerate(sizes):
        gradient = steps(seed + i, size)
        before = norm_of(gradient)
        coefficient = clip.apply(gradient)
        after = norm_of(gradient)
        assert all(torch.isfinite(p.grad).all() for p in gradient.params if p.grad is not None)
        assert after <= before * (1 + 1e-5)
        if coefficient is None:
            assert after == before
        else:
            assert float(coefficient) == pytest.approx(after / before, abs=1e-4)
            assert not isinstance(coefficient, torch.Tensor) or coefficient.ndim == 0


@pytest.mark.parametrize("name", list(CLIPS))
def test_the_slow_path_of_other_devices_does_the_same(name: str) -> None:
    first, second, one, two = (
        make_example(name),
        make_example(name),
        steps(1, 1e3),
        steps(1, 1e3, foreach=False),
    )
    first.apply(one)
    second.apply(two)
    for a, b in zip(one.params, two.params, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", list(CLIPS))
def test_a_gradient_of_zeros_stays_one(name: str) -> None:
    gradient = steps(1, 0.0)
    coefficient = make_example(name).apply(gradient)
    assert norm_of(gradient) == 0
    assert coefficient is None or float(coefficient) == 1


@pytest.mark.parametrize("name", list(CLIPS))
@pytest.mark.parametrize("learned", [0, 30])
def test_finite_elements_stay_finite_where_their_norm_overflows(name: str, learned: int) -> None:
    clip = make_example(name)
    for i in range(learned):
        clip.apply(steps(i, 1.0))
    gradient = steps(1, 1e25)
    assert math.isinf(gradient.norm)
    before = norm_of(gradient)
    clip.apply(gradient)
    assert all(torch.isfinite(p.grad).all() for p in gradient.params if p.grad is not None)
    assert norm_of(gradient) <= before


@pytest.mark.parametrize("name", list(CLIPS))
@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("learned", [0, 30])
def test_a_bad_element_crashes_no_clip_and_is_not_learned_from(
    name: str, special: float, learned: int
) -> None:
    """The result depends on the clip: see `tests/unit/interventions/test_clips.py`."""
    disturbed, clean = make_example(name), make_example(name)
    for i in range(learned):
        disturbed.apply(steps(i, 1.0))
        clean.apply(steps(i, 1.0))
    gradient = steps(1, 1.0)
    gradient.params[1].grad[0] = special  # type: ignore[index]
    total = torch.nn.utils.get_total_norm([p.grad for p in gradient.params if p.grad is not None])
    disturbed.apply(Gradient(params=gradient.params, total=total, norm=float(total)))
    for size in (1.0, 50.0):
        ours, reference = steps(2, size), steps(2, size)
        disturbed.apply(ours)
        clean.apply(reference)
        assert norm_of(ours) == norm_of(reference)


@pytest.mark.parametrize("name", list(CLIPS))
def test_a_clip_draws_no_random_number(name: str) -> None:
    state = torch.get_rng_state()
    make_example(name).apply(steps(1, 1e3))
    assert torch.equal(torch.get_rng_state(), state)
