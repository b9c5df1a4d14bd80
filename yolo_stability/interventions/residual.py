"""`residual=false`: no skip connections inside the blocks.

Ultralytics' blocks add their input where their `add` says so; it is set to False. Additions that are written into a
block's forward (transformer layers, ResNet blocks, area attention) cannot be switched off that way and are counted.
"""

from __future__ import annotations

from torch import nn

from yolo_stability.compat.ultralytics import UNCONDITIONAL_RESIDUALS

__all__ = ["remove_residuals"]


def remove_residuals(model: nn.Module) -> tuple[int, int]:
    """Switch off every skip connection that has a switch, in place.

    Args:
        model: A model of Ultralytics.

    Returns:
        How many were switched off, and how many blocks keep theirs.
    """
    switched = [m for m in model.modules() if getattr(m, "add", None) is True]
    for module in switched:
        module.add = False  # type: ignore[assignment]  # a plain bool
    return len(switched), sum(isinstance(m, UNCONDITIONAL_RESIDUALS) for m in model.modules())
