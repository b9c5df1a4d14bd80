"""What one batch tells about a network before it trains: how gradients flow along its depth, and a verdict on it.

Pure numbers: `studies/probe/run.py` measures, this module judges. The measure is the stock profile of the same
model on the same batch, never a constant: the gradients of a healthy YOLO have norms of 300 to 4000.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from yolo_stability.core import views
from yolo_stability.core.json_values import spelled_json

__all__ = [
    "FORWARD_LIMIT",
    "GRADIENT_LIMIT",
    "TRUNK",
    "BlockFlow",
    "Measures",
    "ProbeResult",
    "ProbeVerdict",
    "Profile",
    "classify_profile",
    "compare_with_stock",
    "describe_switches",
    "with_growth",
]

ProbeVerdict = Literal["healthy", "vanishing", "exploding"]

TRUNK = frozenset({"backbone", "neck"})
"""Roles of blocks that follow each other; the branches of a head lie side by side."""

GRADIENT_LIMIT = 100.0
"""How much more (or less) than in stock the gradient may grow on its way from the head back to the first block.

From 26 settings of YOLO26n, detect and pose, seeds 0 to 2: with a normalisation, or after `init=lsuv`, it is 1/20
(LayerNorm) to 60 times (`init=gain:30`). Without, Kaiming weights, which hardly train, have 1/500 or less, all others
below 1e-4, and `init=gain:3` 68 to 1e5.
"""
FORWARD_LIMIT = 10.0
"""How much larger (or smaller) than in stock the deviation of a block's output may be.

From the same settings: 0.3 (sigmoid) to 1.5 with a normalisation or after `init=lsuv`. Without, 28 or more where the
signal runs away (ReLU with Kaiming weights; `init=gain:3` thousands), 1/80 or less where it dies out.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockFlow:
    """What one forward and backward pass did in one block.

    Attributes:
        name: Name of the block, as in a trace.
        role: backbone, neck, or a head branch.
        grad_norm: L2 norm of the gradient of its weights; None where it has none.
        output_grad_norm: L2 norm of the gradient of the loss with respect to its output; None where none arrives.
        activation_rms: Root mean square of its output.
        activation_std: Standard deviation of its output.
        growth: Factor by which the gradient has grown on its way back from the output of the next block of the trunk
            (from the outputs of the head for the last one) to the output of this one: one factor of the chain
            rule's product. A block that also feeds the neck gets gradient from there too, so single factors jump where
            a path back dies. None in the head, whose branches do not follow each other.
    """

    name: str
    role: str
    grad_norm: float | None = None
    output_grad_norm: float | None = None
    activation_rms: float | None = None
    activation_std: float | None = None
    growth: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One forward and backward pass of one batch.

    Attributes:
        blocks: The blocks in the order of the network.
        total: L2 norm of all gradients.
        loss: The loss, as the trainer back-propagates it.
    """

    blocks: tuple[BlockFlow, ...]
    total: float
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """What the verdict is made of, each beside the same of the stock model.

    Attributes:
        gain: Product of the growths of the trunk, first block to head: the chain rule's product.
        stock_gain: The same of stock.
        blocks: Number of blocks in that product.
        signal: Deviation of the block output that departs most from stock's, over stock's; None where nothing was seen.
        signal_block: Name of that block.
        first_over_head: Gradient norm of the weights of the first block over that of the head's.
        stock_first_over_head: The same of stock.
        weights: Median over the trunk of a block's weight gradient norm over stock's.
        finite: Whether loss, gradients and outputs are all finite.
    """

    gain: float | None
    stock_gain: float | None
    blocks: int
    signal: float | None
    signal_block: str | None
    first_over_head: float | None
    stock_first_over_head: float | None
    weights: float | None
    finite: bool

    @property
    def relative_gain(self) -> float | None:
        """The gain over that of stock; None where either is unknown."""
        return _ratio(self.gain, self.stock_gain)

    @property
    def slope(self) -> float | None:
        """Decades a block by which the gradient grows more (or, negative, less) than in stock; -inf where it dies."""
        relative = self.relative_gain
        return None if relative is None or not self.blocks else _log10(relative) / self.blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult(Profile):
    """What `probe` returns: the profile of one setting, and what it means.

    Attributes:
        verdict: healthy, vanishing or exploding.
        reasons: Why, a sentence with its numbers each, the decisive one first.
        measures: The numbers behind it.
        reference: The stock profile of the same model on the same batch with the same seed.
        settings: The switches that differ from stock; empty for the stock model.
        changes: What each of them has really changed in the model.
        warnings: Switches that hardly act, a sentence each.
        request: Model, data, task, and the keys of Ultralytics that were in force.
        seconds: Time for building the model and the two passes.
    """

    verdict: ProbeVerdict
    reasons: tuple[str, ...]
    measures: Measures
    reference: Profile
    settings: Mapping[str, Any]
    changes: Mapping[str, str]
    warnings: tuple[str, ...]
    request: Mapping[str, Any]
    seconds: float

    @property
    def label(self) -> str:
        """The setting as one types it: `norm=none init=kaiming`, or `stock`."""
        return describe_switches(self.settings)

    def __repr__(self) -> str:
        return f"<ProbeResult '{self.label}': {self.verdict}, {len(self.blocks)} blocks>"

    def __str__(self) -> str:
        return "\n- ".join([f"{self.label}: {self.verdict}", *self.reasons, *self.warnings])

    def _repr_html_(self) -> str:
        """Show the result in a notebook."""
        return views.html(self)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON takes it; numbers that are not finite are text."""
        measures = {
            **asdict(self.measures),
            "relative_gain": self.measures.relative_gain,
            "slope": self.measures.slope,
        }
        content: dict[str, Any] = spelled_json(
            {"label": self.label, **asdict(self), "measures": measures}
        )
        return content


def describe_switches(settings: Mapping[str, Any]) -> str:
    """Write switches as one types them.

    Args:
        settings: Those that differ from stock.
    """
    texts = {
        key: str(value).lower() if isinstance(value, bool) else f"{value}"
        for key, value in settings.items()
    }
    return " ".join(f"{key}={text}" for key, text in texts.items()) or "stock"


def compare_with_stock(profile: Profile, reference: Profile) -> Measures:
    """Compare a profile with that of the stock model.

    Args:
        profile: What was measured.
        reference: Stock, on the same batch; blocks are matched by name.
    """
    stock = {block.name: block for block in reference.blocks}
    pairs = [(b, stock[b.name]) for b in profile.blocks if b.role in TRUNK and b.name in stock]
    signals = {
        here.name: ratio
        for here, there in pairs
        if (ratio := _ratio(here.activation_std, there.activation_std)) is not None
    }
    farthest = max(signals, key=lambda name: abs(_log10(signals[name])), default=None)
    weights = [
        ratio
        for here, there in pairs
        if (ratio := _ratio(here.grad_norm, there.grad_norm)) is not None
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
    """Say whether gradients vanish or explode, and why.

    The gradient of a weight is the product of what flows forward and what flows back: with weights three times too
    large it is huge but equally so in every block. So each of the two flows is judged, not their product.

    Args:
        measures: From `compare_with_stock`.

    Returns:
        The verdict, and a sentence for each measure, the decisive one first; if healthy, one that is worth knowing.
    """
    if not measures.finite:
        return "exploding", ("Loss, gradients or outputs hold NaN or Inf after one batch.",)
    sentences = {"gradient": _gradient_sentence(measures), "signal": _signal_sentence(measures)}
    flows = {
        "gradient": _side(measures.relative_gain, GRADIENT_LIMIT),
        "signal": _side(measures.signal, FORWARD_LIMIT),
    }
    verdict: ProbeVerdict = next(
        (side for side in ("exploding", "vanishing") if side in flows.values()), "healthy"
    )
    said = [sentences[flow] for flow in sorted(flows, key=lambda flow: flows[flow] != verdict)]
    level = _weights_sentence(measures)
    told_first = verdict == "healthy" and _side(measures.weights, FORWARD_LIMIT) != "healthy"
    return verdict, tuple(filter(None, [level, *said] if told_first else [*said, level]))


def with_growth(blocks: Sequence[BlockFlow]) -> tuple[BlockFlow, ...]:
    """Fill in the growth of every block of the trunk.

    Args:
        blocks: In the order of the network.

    Returns:
        The same blocks. A growth is None where a gradient is missing or the later one is 0.
    """
    found = list(blocks)
    trunk = [i for i, block in enumerate(blocks) if block.role in TRUNK]
    # The one2one twins of a head see detached features: nothing flows from them into the trunk.
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
    """Return on which side of its limits a ratio to stock lies."""
    if ratio is None or 1 / limit <= ratio <= limit:
        return "healthy"
    return "exploding" if ratio > limit else "vanishing"


def _gradient_sentence(measures: Measures) -> str | None:
    relative, slope = measures.relative_gain, measures.slope
    if relative is None or slope is None:
        return None
    return (
        f"From the head back to the first block the gradient is multiplied by {measures.gain:.2g} (stock: "
        f"{measures.stock_gain:.2g}), which is {relative:.2g} times stock's, {slope:+.2f} decades a block over "
        f"{measures.blocks} blocks; the limits are {1 / GRADIENT_LIMIT:g} and {GRADIENT_LIMIT:g} times."
    )


def _signal_sentence(measures: Measures) -> str | None:
    if measures.signal is None:
        return None
    return (
        f"Forward, the output of {measures.signal_block} departs most from stock: its deviation is "
        f"{measures.signal:.2g} times stock's; the limits are {1 / FORWARD_LIMIT:g} and {FORWARD_LIMIT:g} times."
    )


def _weights_sentence(measures: Measures) -> str | None:
    if measures.weights is None:
        return None
    text = f"The weights of backbone and neck get {measures.weights:.2g} times stock's gradient (median block)"
    if measures.first_over_head is not None and measures.stock_first_over_head is not None:
        text += (
            f"; the first block's over the head's is {measures.first_over_head:.2g}, "
            f"in stock {measures.stock_first_over_head:.2g}"
        )
    return f"{text}."


def _first_over_head(profile: Profile) -> float | None:
    """Return the gradient norm of the first block's weights over that of the whole head's."""
    trunk = [b.grad_norm for b in profile.blocks if b.role in TRUNK and b.grad_norm is not None]
    head = [b.grad_norm for b in profile.blocks if b.role not in TRUNK and b.grad_norm is not None]
    return _ratio(trunk[0], math.hypot(*head)) if trunk and head else None


def _is_finite(profile: Profile) -> bool:
    """Return whether everything that was measured is finite."""
    numbers = [profile.loss, profile.total]
    for block in profile.blocks:
        numbers += [
            n
            for n in (block.grad_norm, block.output_grad_norm, block.activation_rms)
            if n is not None
        ]
    return all(math.isfinite(number) for number in numbers)


def _ratio(number: float | None, reference: float | None) -> float | None:
    """Return number / reference; None where there is none."""
    if number is None or reference is None or reference == 0 or not math.isfinite(reference):
        return None
    return number / reference


def _log10(number: float) -> float:
    """Return the decimal logarithm; -inf for 0, inf for what is no number."""
    return -math.inf if number == 0 else math.log10(number) if number > 0 else math.inf


def _product(factors: Sequence[float | None]) -> float | None:
    """Return the product; None of nothing."""
    return math.prod(factor for factor in factors if factor is not None) if factors else None
