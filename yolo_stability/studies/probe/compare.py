"""Compares a probed model with the stock profile and classifies gradient and signal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from yolo_stability.studies.probe.result import (
    TRUNK,
    BlockFlow,
    Measures,
    ProbeVerdict,
    Profile,
    log10_or_nan,
    ratio_or_none,
)

__all__ = [
    "FORWARD_LIMIT",
    "GRADIENT_LIMIT",
    "classify_profile",
    "compare_with_stock",
    "with_growth",
]


GRADIENT_LIMIT = 100.0
"""Limit of the gradient gain from the head to the first block, relative to stock.

Calibrated on 26 settings of YOLO26n, detect and pose, seeds 0 to 2: with normalization, or after
`init=lsuv`, the relative gain ranges from 1/20 (LayerNorm) to 60 (`init=gain:30`). Without, it is
1/500 or less with Kaiming weights, which hardly train, 68 to 1e5 with `init=gain:3`, and below 1e-4
with all others.
"""


FORWARD_LIMIT = 10.0
"""Limit of the standard deviation of a block output, relative to stock.

Calibrated on the same settings: 0.3 (sigmoid) to 1.5 with normalization or after `init=lsuv`.
Without, 28 or more if the signal explodes (ReLU with Kaiming weights; thousands with
`init=gain:3`), and 1/80 or less if it vanishes.
"""


def compare_with_stock(profile: Profile, reference: Profile) -> Measures:
    """Compare a profile with that of the stock model.

    Args:
        profile: The measured profile.
        reference: The stock profile on the same batch; blocks are matched by name.
    """
    stock = {block.name: block for block in reference.blocks}
    pairs = [(b, stock[b.name]) for b in profile.blocks if b.role in TRUNK and b.name in stock]
    signals = {
        here.name: ratio
        for here, there in pairs
        if (ratio := ratio_or_none(here.activation_std, there.activation_std)) is not None
    }
    farthest = max(signals, key=lambda name: abs(log10_or_nan(signals[name])), default=None)
    weights = [
        ratio
        for here, there in pairs
        if (ratio := ratio_or_none(here.grad_norm, there.grad_norm)) is not None
    ]
    known = [here.growth is not None and there.growth is not None for here, there in pairs]
    return Measures(
        gain=_product([here.growth for (here, _), k in zip(pairs, known, strict=True) if k]),
        stock_gain=_product(
            [there.growth for (_, there), k in zip(pairs, known, strict=True) if k]
        ),
        blocks=sum(known),
        signal=None if farthest is None else signals[farthest],
        signal_block=farthest,
        first_over_head=_first_over_head(profile),
        stock_first_over_head=_first_over_head(reference),
        weights=float(np.median(weights)) if weights else None,
        finite=_is_finite(profile),
    )


def classify_profile(measures: Measures) -> tuple[ProbeVerdict, tuple[str, ...]]:
    """Classify the gradient flow, with reasons.

    The gradient of a weight is the product of the forward and the backward signal: with weights
    three times too large it is huge, but equally so in every block. Therefore both signals are
    classified, not their product.

    Args:
        measures: From `compare_with_stock`.

    Returns:
        The verdict, and one sentence per measure, the decisive one first; for a healthy model, an
        unusual one first.
    """
    if not measures.finite:
        return "exploding", ("Loss, gradients or outputs contain NaN or Inf after one batch.",)
    sentences = {"gradient": _gradient_sentence(measures), "signal": _signal_sentence(measures)}
    flows = {
        "gradient": _side(measures.relative_gain, GRADIENT_LIMIT),
        "signal": _side(measures.signal, FORWARD_LIMIT),
    }
    verdict: ProbeVerdict = next(
        (side for side in ("exploding", "vanishing") if side in flows.values()), "healthy"
    )
    ordered = [sentences[flow] for flow in sorted(flows, key=lambda flow: flows[flow] != verdict)]
    level = _weights_sentence(measures)
    level_first = verdict == "healthy" and _side(measures.weights, FORWARD_LIMIT) != "healthy"
    return verdict, tuple(filter(None, [level, *ordered] if level_first else [*ordered, level]))


def with_growth(blocks: Sequence[BlockFlow]) -> tuple[BlockFlow, ...]:
    """Compute the growth of every block of the trunk.

    Args:
        blocks: In the order of the network.

    Returns:
        The same blocks with growth; None if a gradient is missing or the later one is 0.
    """
    found = list(blocks)
    trunk = [i for i, block in enumerate(blocks) if block.role in TRUNK]
    # The one2one branches of a head get detached features: no gradient flows from them into the
    # trunk.
    sources = [
        b.output_grad_norm
        for b in blocks
        if b.role not in TRUNK and not b.role.startswith("one2one_")
    ]
    known = [norm for norm in sources if norm is not None]
    later = math.hypot(*known) if known else None
    for i in reversed(trunk):
        norm = blocks[i].output_grad_norm
        if norm is not None and later:
            found[i] = replace(blocks[i], growth=norm / later)
        later = norm
    return tuple(found)


def _side(ratio: float | None, limit: float) -> ProbeVerdict:
    """Classify a ratio to stock by its limit."""
    if ratio is None or 1 / limit <= ratio <= limit:
        return "healthy"
    return "exploding" if ratio > limit else "vanishing"


def _gradient_sentence(measures: Measures) -> str | None:
    relative, slope = measures.relative_gain, measures.slope
    if relative is None or slope is None:
        return None
    return (
        f"From the head back to the first block the gradient is multiplied by {measures.gain:.2g} "
        f"(stock: {measures.stock_gain:.2g}), {relative:.2g} times the stock value, {slope:+.2f} "
        f"decades per block over {measures.blocks} blocks; the limits are {1 / GRADIENT_LIMIT:g} "
        f"and {GRADIENT_LIMIT:g} times."
    )


def _signal_sentence(measures: Measures) -> str | None:
    if measures.signal is None:
        return None
    return (
        f"In the forward pass the output of {measures.signal_block} differs most from stock: its "
        f"standard deviation is {measures.signal:.2g} times the stock value; the limits are "
        f"{1 / FORWARD_LIMIT:g} and {FORWARD_LIMIT:g} times."
    )


def _weights_sentence(measures: Measures) -> str | None:
    if measures.weights is None:
        return None
    text = (
        f"The weights of backbone and neck get {measures.weights:.2g} times stock's gradient "
        "(median block)"
    )
    if measures.first_over_head is not None and measures.stock_first_over_head is not None:
        text += (
            f"; the ratio of first block to head is {measures.first_over_head:.2g} "
            f"(stock: {measures.stock_first_over_head:.2g})"
        )
    return f"{text}."


def _first_over_head(profile: Profile) -> float | None:
    """Return the ratio of the weight gradient norms of the first block and of the whole head."""
    trunk = [b.grad_norm for b in profile.blocks if b.role in TRUNK and b.grad_norm is not None]
    head = [b.grad_norm for b in profile.blocks if b.role not in TRUNK and b.grad_norm is not None]
    return ratio_or_none(trunk[0], math.hypot(*head)) if trunk and head else None


def _is_finite(profile: Profile) -> bool:
    """Return whether all measured values are finite."""
    numbers = [profile.loss, profile.total]
    for block in profile.blocks:
        numbers += [
            n
            for n in (block.grad_norm, block.output_grad_norm, block.activation_rms)
            if n is not None
        ]
    return all(math.isfinite(number) for number in numbers)


def _product(factors: Sequence[float | None]) -> float | None:
    """Return the product; None for no factors."""
    return math.prod(factor for factor in factors if factor is not None) if factors else None
