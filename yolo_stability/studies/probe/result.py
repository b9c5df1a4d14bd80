"""What one batch tells about a network before it trains: how gradients flow along its depth, and a verdict on it.

Pure numbers: `studies/probe/run.py` measures, this module judges. The measure is the stock profile of the same
model on the same batch, never a constant: the gradients of a healthy YOLO have norms of 300 to 4000.
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
"""Roles of blocks that follow each other; the branches of a head lie side by side."""


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
        return ratio_or_none(self.gain, self.stock_gain)

    @property
    def slope(self) -> float | None:
        """Decades a block by which the gradient grows more (or, negative, less) than in stock; -inf where it dies."""
        relative = self.relative_gain
        return None if relative is None or not self.blocks else log10_or_nan(relative) / self.blocks


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


def ratio_or_none(number: float | None, reference: float | None) -> float | None:
    """Return number / reference; None where there is none."""
    if number is None or reference is None or reference == 0 or not math.isfinite(reference):
        return None
    return number / reference


def log10_or_nan(number: float) -> float:
    """Return the decimal logarithm; -inf for 0, inf for what is no number."""
    return -math.inf if number == 0 else math.log10(number) if number > 0 else math.inf


def blocks_by_group(blocks: Sequence[BlockFlow]) -> Iterator[tuple[str, list[BlockFlow]]]:
    """Yield the parts of the network with their blocks."""
    for group, members in groupby(blocks, key=lambda block: block_group(block.role)):
        yield group, list(members)


def block_group(role: str) -> str:
    """Name the part of the network a role belongs to."""
    if role in {"backbone", "neck"}:
        return role
    return "one2one head" if role.startswith("one2one_") else "head"
