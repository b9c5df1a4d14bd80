"""Normalization layers, one per file; users write the name of the file after `norm=`.

Importing this package does not import torch; the base class, which needs it, is imported on first
use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yolo_stability.core.registry import Registry
from yolo_stability.interventions.choice import choose

if TYPE_CHECKING:
    from yolo_stability.interventions.norms._base import Norm

__all__ = ["NORMS", "Norm", "make_norm"]

NORMS: Registry[Norm] = Registry("normalization", __name__, f"{__name__}._base.Norm")


def make_norm(text: str) -> Norm:
    """Create a normalization from its name, such as `group`.

    Args:
        text: Name of the normalization.

    Raises:
        ConfigError: The normalization is unknown.

    Example:
        >>> make_norm("group").layer(64).num_groups
        32
    """
    return choose(NORMS, "norm", text)


def __getattr__(name: str) -> Any:
    """Import the base class of a new normalization on first use."""
    if name in __all__:
        from yolo_stability.interventions.norms import _base

        return getattr(_base, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
