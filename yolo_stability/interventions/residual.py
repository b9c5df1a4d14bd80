"""`residual=false`: no skip connections within blocks.

Ultralytics' blocks add their input if their attribute `add` is true; it is set to False. Additions
that are hard-coded in a block's forward (transformer layers, ResNet blocks, area attention) cannot
be disabled that way and are counted.
"""

from __future__ import annotations

from torch import nn

from yolo_stability.compat.ultralytics import UNCONDITIONAL_RESIDUALS

__all__ = ["remove_residuals"]


def remove_residuals(model: nn.Module) -> tuple[int, int]:
    """Disable every skip connection that has a switch, in place.

    Args:
        model: An Ultralytics model.

    Returns:
        Number of disabled connections, and number of blocks whose connection is hard-coded.
    """
    switched = [m for m in model.modules() if getattr(m, "add", None) is True]
    for module in switched:
        module.add = False  # type: ignore[assignment]  # bool, not a module
    return len(switched), sum(isinstance(m, UNCONDITIONAL_RESIDUALS) for m in model.modules())
