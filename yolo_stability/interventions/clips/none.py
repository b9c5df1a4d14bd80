"""`clip=none`: no clipping; Ultralytics itself has no such option."""

from __future__ import annotations

from yolo_stability.interventions.clips._base import Clip, Gradient

__all__ = ["NoClip"]


class NoClip(Clip):
    """Leaves the gradient unchanged.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> weight.grad = torch.tensor([100.0])
        >>> NoClip().apply(Gradient(params=[weight], total=torch.tensor(100.0), norm=100.0))
        >>> weight.grad.item()
        100.0
    """

    def apply(self, gradient: Gradient) -> None:
        """Leave the gradient unchanged."""
