"""`clip=value:0.5`: bound each element of the gradient (torch's `clip_grad_value_`); changes its direction, too."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from yolo_stability.interventions.choice import Argument
from yolo_stability.interventions.clips._base import Clip, Gradient
from yolo_stability.interventions.clips._ops import shortening

__all__ = ["ValueClip"]


class ValueClip(Clip):
    """Clamps every element to [-value, value]."""

    argument: ClassVar[Argument] = Argument(
        meaning="the largest magnitude of an element", example=0.5
    )

    def apply(self, gradient: Gradient) -> Tensor:
        """Clamp, and measure how much shorter the gradient has become."""
        torch.nn.utils.clip_grad_value_(gradient.params, self.value, foreach=gradient.foreach)
        return shortening(gradient)
