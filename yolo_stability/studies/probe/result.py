"""The result of a probe: the gradient flow along the depth on one batch, and a verdict.

The reference is the stock profile of the same model on the same batch, never a constant: gradient
norms of a healthy YOLO range from 300 to 4000.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any, Literal

from yolo_stability.core import views
from yolo_stability.core.json_values import spelled_json

__all__ = [
    "TRUNK",
    "BlockFlow",
    "Measures",
    "ProbeResult",
    "ProbeVerdict",
    "Profile",
    "block_group",
    "blocks_by_group",
    "describe_switches",
    "log10_or_nan",
    "ratio_or_none",
]

ProbeVerdict = Literal["healthy", "vanishing", "exploding"]

TRUNK = frozenset({"backbone", "neck"})
"""Roles of the sequential blocks; the branches of a head are parallel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockFlow:
    """Measurements of one block in one forward and backward pass.

    Attributes:
        name: Name of the block, as in a trace.
        role: backbone, neck, or a head branch.
        grad_norm: L2 norm of the gradient of its weights; None without one.
        output_grad_norm: L2 norm of the gradient of the loss with respect to its output; None
            without one.
        activation_rms: Root mean square of its output.
        activation_std: Standard deviation of its output.
        growth: Factor of the chain-rule product: output gradient norm of this block over that of
            the next block of the trunk (for the last one, over that of the head outputs). A block
            that also feeds the neck gets gradient from there too, so that single factors jump if a
            path vanishes. None in the head, whose branches are parallel.
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
        loss: The loss that the trainer backpropagates.
    """

    blocks: tuple[BlockFlow, ...]
    total: float
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """The measures behind the verdict, with those of the stock model.

    Attributes:
        gain: Chain-rule product: product of the growths of the trunk, from first block to head.
        stock_gain: The same for stock.
        blocks: Number of blocks in that product.
        signal: Standard deviation of the block output that differs most from stock, over that of
            stock; None if unknown.
        signal_block: Name of that block.
        first_over_head: Weight gradient norm of the first block over that of the head.
        stock_first_over_head: The same for stock.
        weights: Weight gradient norm of a block over that of stock, median over the trunk.
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
        """The gain over that of stock; None if either is unknown."""
        return ratio_or_none(self.gain, self.stock_gain)

    @property
    def slope(self) -> float | None:
        """Gradient growth relative to stock, in decades per block; -inf for a gradient of 0."""
        relative = self.relative_gain
        return None if relative is None or not self.blocks else log10_or_nan(relative) / self.blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult(Profile):
    """The result of `probe`: the profile of one setting, and its verdict.

    Attributes:
        verdict: healthy, vanishing or exploding.
        reasons: Reasons with numbers, one sentence each, the decisive one first.
        measures: The measures behind the verdict.
        reference: The stock profile of the same model on the same batch with the same seed.
        settings: The switches that differ from stock; empty for the stock model.
        changes: The effective changes of each switch to the model.
        warnings: Switches with little effect, one sentence each.
        request: Model, data, task, and the effective Ultralytics keys.
        seconds: Time to build the model and for both passes.
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
        """The setting as typed, such as `norm=none init=kaiming`, or `stock`."""
        return describe_switches(self.settings)

    def __repr__(self) -> str:
        return f"<ProbeResult '{self.label}': {self.verdict}, {len(self.blocks)} blocks>"

    def __str__(self) -> str:
        return "\n- ".join([f"{self.label}: {self.verdict}", *self.reasons, *self.warnings])

    def _repr_html_(self) -> str:
        """Return the notebook view."""
        return views.html(self)

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values; non-finite numbers are strings."""
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
    """Format switches as typed.

    Args:
        settings: The switches that differ from stock.

    Examples:
        >>> describe_switches({"norm": "none", "init": "kaiming"})
        'norm=none init=kaiming'
    """
    texts = {
        key: str(value).lower() if isinstance(value, bool) else f"{value}"
        for key, value in settings.items()
    }
    return " ".join(f"{key}={text}" for key, text in texts.items()) or "stock"


def ratio_or_none(number: float | None, reference: float | None) -> float | None:
    """Return number / reference; None if either is missing or the reference is 0."""
    if number is None or reference is None or reference == 0 or not math.isfinite(reference):
        return None
    return number / reference


def log10_or_nan(number: float) -> float:
    """Return the decimal logarithm; -inf for 0, inf for NaN."""
    return -math.inf if number == 0 else math.log10(number) if number > 0 else math.inf


def blocks_by_group(blocks: Sequence[BlockFlow]) -> Iterator[tuple[str, list[BlockFlow]]]:
    """Yield each part of the network with its blocks."""
    for group, members in groupby(blocks, key=lambda block: block_group(block.role)):
        yield group, list(members)


def block_group(role: str) -> str:
    """Return the part of the network to which a role belongs."""
    if role in {"backbone", "neck"}:
        return role
    return "one2one head" if role.startswith("one2one_") else "head"
