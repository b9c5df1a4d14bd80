"""Growth along the depth, and the verdict on it: pure numbers."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from yolo_stability.studies.probe.compare import (
    FORWARD_LIMIT,
    GRADIENT_LIMIT,
    classify_profile,
    compare_with_stock,
    with_growth,
)
from yolo_stability.studies.probe.result import BlockFlow, ProbeResult, Profile, describe_switches

ROLES = ("backbone", "backbone", "neck", "box", "cls", "one2one_box")


def blocks(
    gradients: tuple[float | None, ...], stds: float | tuple[float, ...] = 1.0
) -> tuple[BlockFlow, ...]:
    """Make three blocks of a trunk, two head branches and a one2one twin out of their output
    gradients."""
    deviations = stds if isinstance(stds, tuple) else (stds,) * len(ROLES)
    return with_growth(
        [
            BlockFlow(
                name=f"model.{i}",
                role=role,
                grad_norm=1.0,
                output_grad_norm=g,
                activation_rms=1.0,
                activation_std=s,
            )
            for i, (role, g, s) in enumerate(zip(ROLES, gradients, deviations, strict=True))
        ]
    )


def profile(first: float = 24.0, stds: float | tuple[float, ...] = 1.0, **changed: Any) -> Profile:
    """Make a profile whose gradient grows from 5 at the head to `first` at the first block."""
    return replace(
        Profile(blocks=blocks((first, 12.0, 6.0, 3.0, 4.0, 99.0), stds), total=2.0, loss=1.0),
        **changed,
    )


def test_growth_is_the_ratio_to_the_next_block_and_to_the_whole_head_at_the_end() -> None:
    # The head's two branches give sqrt(3^2 + 4^2) = 5; its one2one twin, which sees detached
    # features, nothing.
    growth = [block.growth for block in profile().blocks]
    assert growth == [24 / 12, 12 / 6, 6 / 5, None, None, None]


def test_the_growths_multiply_to_the_gradient_of_the_first_block_over_the_heads() -> None:
    measures = compare_with_stock(profile(first=7.0), profile())
    assert measures.gain == pytest.approx(7 / 5)
    assert measures.stock_gain == pytest.approx(24 / 5)
    assert measures.relative_gain == pytest.approx(7 / 24)
    assert (measures.blocks, measures.slope) == (3, pytest.approx(math.log10(7 / 24) / 3))


def test_growth_is_unknown_where_no_gradient_arrives() -> None:
    growth = [block.growth for block in blocks((8.0, None, 4.0, 3.0, 4.0, 1.0))]
    assert growth == [None, None, 4 / 5, None, None, None]


def test_a_gradient_that_dies_on_the_way_is_vanishing_although_no_ratio_to_it_exists() -> None:
    dead = Profile(blocks=blocks((0.0, 0.0, 6.0, 3.0, 4.0, 1.0)), total=1.0, loss=1.0)
    measures = compare_with_stock(dead, profile())
    assert measures.gain == 0
    assert measures.slope == -math.inf
    assert classify_profile(measures)[0] == "vanishing"


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [
        (1.0, "healthy"),
        (GRADIENT_LIMIT * 0.99, "healthy"),
        (GRADIENT_LIMIT * 1.01, "exploding"),
        (1.01 / GRADIENT_LIMIT, "healthy"),
        (0.99 / GRADIENT_LIMIT, "vanishing"),
    ],
)
def test_the_gradient_is_judged_against_stock(factor: float, verdict: str) -> None:
    found, reasons = classify_profile(compare_with_stock(profile(first=24.0 * factor), profile()))
    assert found == verdict
    assert reasons[0].startswith("From the head back to the first block")
    assert f"{factor:.2g} times the stock value" in reasons[0]


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_the_unit_of_the_loss_does_not_matter(unit: float) -> None:
    """A loss times 1e9 has gradients times 1e9, and flows as before: no absolute constant is in the
    verdict."""
    scaled = Profile(
        blocks=tuple(
            replace(
                b,
                grad_norm=b.grad_norm and b.grad_norm * unit,
                output_grad_norm=b.output_grad_norm * unit,
            )
            for b in profile().blocks
            if b.output_grad_norm is not None
        ),
        total=2 * unit,
        loss=unit,
    )
    verdict, reasons = classify_profile(compare_with_stock(scaled, profile()))
    assert verdict == "healthy"
    # but it is said, and said first, that the weights get another gradient
    assert ("get" in reasons[0]) == (unit != 1.0)


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [
        (FORWARD_LIMIT * 1.01, "exploding"),
        (FORWARD_LIMIT * 0.99, "healthy"),
        (0.99 / FORWARD_LIMIT, "vanishing"),
        (0.0, "vanishing"),
    ],
)
def test_the_signal_is_judged_where_it_departs_most(factor: float, verdict: str) -> None:
    measures = compare_with_stock(
        profile(stds=(0.9, factor, 1.1, 1e9, 1e9, 1e9)), profile()
    )  # the head's outputs do not count
    assert (measures.signal, measures.signal_block) == (factor, "model.1")
    found, reasons = classify_profile(measures)
    assert found == verdict
    assert ("model.1" in reasons[0]) == (verdict != "healthy")


def test_exploding_comes_before_vanishing() -> None:
    both = profile(first=24.0 / GRADIENT_LIMIT / 2, stds=FORWARD_LIMIT * 2)
    assert classify_profile(compare_with_stock(both, profile()))[0] == "exploding"


@pytest.mark.parametrize(
    "broken",
    [
        profile(loss=math.nan),
        profile(total=math.inf),
        profile(blocks=blocks((24.0, math.nan, 6.0, 3.0, 4.0, 1.0))),
        profile(
            blocks=(replace(profile().blocks[0], activation_rms=math.inf), *profile().blocks[1:])
        ),
        profile(blocks=(*profile().blocks[:5], replace(profile().blocks[5], grad_norm=math.nan))),
    ],
)
def test_anything_that_is_not_finite_is_exploding(broken: Profile) -> None:
    assert classify_profile(compare_with_stock(broken, profile())) == (
        "exploding",
        ("Loss, gradients or outputs contain NaN or Inf after one batch.",),
    )


def test_a_frozen_start_leaves_the_rest_to_be_judged() -> None:
    """`freeze=1`: no gradient reaches the first block, in stock neither."""
    here, there = (
        Profile(blocks=blocks((None, 12.0 * factor, 6.0, 3.0, 4.0, 1.0)), total=1.0, loss=1.0)
        for factor in (0.5 / GRADIENT_LIMIT, 1.0)
    )
    measures = compare_with_stock(here, there)
    assert measures.blocks == 2
    assert classify_profile(measures)[0] == "vanishing"
    assert classify_profile(compare_with_stock(there, there))[0] == "healthy"


def test_blocks_are_matched_by_name() -> None:
    """A block that only one of the two has is left out, and does not shift the others."""
    extra = BlockFlow(name="model.x", role="backbone", grad_norm=1.0, activation_std=1e6)
    measures = compare_with_stock(profile(blocks=(extra, *profile().blocks)), profile())
    assert (measures.signal, measures.relative_gain) == (1.0, 1.0)


def test_the_first_block_is_compared_with_the_whole_head() -> None:
    norms = (2.0, 1.0, 1.0, 2.0, 2.0, 1.0)
    uneven = tuple(replace(b, grad_norm=n) for b, n in zip(profile().blocks, norms, strict=True))
    measures = compare_with_stock(profile(blocks=uneven), profile())
    assert measures.first_over_head == pytest.approx(2 / 3)  # sqrt(4 + 4 + 1) = 3
    assert measures.stock_first_over_head == pytest.approx(1 / math.sqrt(3))


def test_settings_are_written_as_one_types_them() -> None:
    assert describe_switches({}) == "stock"
    assert (
        describe_switches({"norm": "none", "residual": False, "depth_mult": 2.0})
        == "norm=none residual=false depth_mult=2.0"
    )


def test_json_holds_everything_and_stays_json_where_numbers_are_not_finite() -> None:
    run = profile(loss=math.nan)
    result = ProbeResult(
        blocks=run.blocks,
        total=math.inf,
        loss=run.loss,
        verdict="exploding",
        reasons=("why",),
        measures=compare_with_stock(run, profile()),
        reference=profile(),
        settings={"norm": "none"},
        changes={"norm": "gone"},
        warnings=(),
        request={"imgsz": 160},
        seconds=0.5,
    )
    content = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert content["loss"] == "nan"
    assert content["total"] == "inf"
    assert content["label"] == "norm=none"
    assert content["verdict"] == "exploding"
    assert [block["name"] for block in content["blocks"]] == [f"model.{i}" for i in range(6)]
    assert content["reference"]["loss"] == 1.0
    assert content["measures"]["relative_gain"] == 1.0
