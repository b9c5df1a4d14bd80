"""`depth_mult=2.0`: more (or fewer) repeats of every repeated block, relative to the model's stock depth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["MARK", "deepen"]

MARK = "depth_mult"
"""Key in the model's YAML dictionary, which travels in the checkpoint: how much deeper than stock it already is."""


def deepen(config: Mapping[str, Any], factor: float) -> tuple[dict[str, Any], int, int]:
    """Return a model's YAML dictionary with its depth multiplied.

    Args:
        config: From `yaml_model_load`; one that carries a factor already is taken back to stock first.
        factor: More than 0.

    Returns:
        The new dictionary, and the repeats over all layers before (in the stock model) and after.
    """
    stock = dict(config)
    already = float(stock.pop(MARK, 1.0))
    depth = _depth(stock) / already
    new = {**stock, MARK: factor}
    if stock.get("scales"):
        scale = stock.get("scale") or next(iter(stock["scales"]))
        new["scales"] = {**stock["scales"], scale: [depth * factor, *stock["scales"][scale][1:]]}
    else:
        new["depth_multiple"] = depth * factor
    return new, _repeats(stock, depth), _repeats(stock, depth * factor)


def _depth(config: Mapping[str, Any]) -> float:
    """Return the depth multiple in force, as `parse_model` finds it."""
    scales = config.get("scales")
    if scales:
        return float(scales[config.get("scale") or next(iter(scales))][0])
    return float(config.get("depth_multiple", 1.0))


def _repeats(config: Mapping[str, Any], depth: float) -> int:
    """Return the repeats over all layers, by the rule of `parse_model`."""
    layers = [*config.get("backbone", ()), *config.get("head", ())]
    return sum(max(round(n * depth), 1) if n > 1 else n for _, n, *_ in layers)
