"""`clip=value:0.5`: bounds each element of the gradient (torch's `clip_grad_value_`)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from yolo_stability.interventions.choice import Argument
from yolo_stability.interventions.clips._base import Clip, Gradient
from yolo_stability.interventions.clips._ops import shortening

__all__ = ["ValueClip"]


class ValueClip(Clip):
    """Clamps every element to [-value, value], which also changes the direction.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> weight.grad = torch.tensor([3.0, 4.0])
        >>> gradient = Gradient(params=[weight], total=torch.tensor(5.0), norm=5.0)
        >>> round(ValueClip(0.5).apply(gradient).item(), 4)
        0.1414
        >>> weight.grad.tolist()
        [0.5, 0.5]
    """

    argument: ClassVar[Argument] = Argument(
        meaning="the largest magnitude of an element", example=0.5
    )

    def apply(self, gradient: Gradient) -> Tensor:
        """Clamp the gradient, and return the ratio of total norms."""
        torch.nn.utils.clip_grad_value_(gradient.params, self.value, foreach=gradient.foreach)
        return shortening(gradient)
