"""`depth_mult=2.0`: multiplies the repeats of every repeated block, relative to the stock model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["MARK", "deepen"]

MARK = "depth_mult"
"""Key in the model's YAML dictionary, saved in checkpoints: depth relative to the stock model."""


def deepen(config: Mapping[str, Any], factor: float) -> tuple[dict[str, Any], int, int]:
    """Return a model's YAML dictionary with its depth multiplied.

    Args:
        config: Dictionary from `yaml_model_load`; an earlier factor in it is removed first.
        factor: Factor on the stock depth, above 0.

    Returns:
        The new dictionary, and the number of repeats over all layers of the stock and of the new
        model.
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
    """Return the effective depth multiple, following `parse_model`."""
    scales = config.get("scales")
    if scales:
        return float(scales[config.get("scale") or next(iter(scales))][0])
    return float(config.get("depth_multiple", 1.0))


def _repeats(config: Mapping[str, Any], depth: float) -> int:
    """Return the number of repeats over all layers, following `parse_model`."""
    layers = [*config.get("backbone", ()), *config.get("head", ())]
    return sum(max(round(n * depth), 1) if n > 1 else n for _, n, *_ in layers)
