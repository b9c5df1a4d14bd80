"""Gradient clips, one per file; users write the name of the file before the colon.

Importing this package does not import torch; the base class, which needs it, is imported on first
use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yolo_stability.core.registry import Registry
from yolo_stability.interventions.choice import choose

if TYPE_CHECKING:
    from yolo_stability.interventions.clips._base import Clip, Gradient

__all__ = ["CLIPS", "Clip", "Gradient", "make_clip"]

CLIPS: Registry[Clip] = Registry("clip", __name__, f"{__name__}._base.Clip")


def make_clip(text: str) -> Clip:
    """Create a clip from a text such as `norm:10` or `agc:0.01`.

    Args:
        text: `kind` or `kind:number`.

    Raises:
        ConfigError: The clip is unknown, or its number is invalid.

    Example:
        >>> make_clip("norm:10").max_norm()
        10.0
    """
    return choose(CLIPS, "clip", text)


def __getattr__(name: str) -> Any:
    """Import the base classes of a new clip on first use."""
    if name in __all__:
        from yolo_stability.interventions.clips import _base

        return getattr(_base, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
