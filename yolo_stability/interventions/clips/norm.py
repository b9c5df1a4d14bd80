"""`clip=norm:10`: scales the gradient to a maximum norm (Pascanu et al. 2013, arXiv 1211.5063)."""

from __future__ import annotations

from typing import ClassVar

from yolo_stability.interventions.choice import Argument
from yolo_stability.interventions.clips._base import Clip, Gradient
from yolo_stability.interventions.clips._ops import scale_to

__all__ = ["NormClip"]


class NormClip(Clip):
    """Bounds the total norm and keeps the direction; `norm:10` equals Ultralytics bit for bit.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> weight.grad = torch.tensor([30.0, 40.0])
        >>> gradient = Gradient(params=[weight], total=torch.tensor(50.0), norm=50.0)
        >>> round(NormClip(10.0).apply(gradient), 4)
        0.2
        >>> round(weight.grad.norm().item(), 4)
        10.0
    """

    argument: ClassVar[Argument] = Argument(
        meaning="the largest total norm", default=10.0, example=10.0
    )

    def apply(self, gradient: Gradient) -> float:
        """Scale by min(1, max_norm / (total + 1e-6))."""
        return scale_to(gradient, self.value)

    def max_norm(self) -> float:
        """Return the bound."""
        return self.value
