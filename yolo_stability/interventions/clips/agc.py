"""`clip=agc:0.01`: adaptive gradient clipping per unit (Brock et al. 2021, arXiv 2102.06171).

The gradient of a unit (a filter of a convolution, a row of a linear layer, a whole vector of biases
or gains) may be at most `value` times as long as the weights of that unit, which count as at least
1e-3 (equation 3). It is applied to every parameter, including the head's last layers; the paper
excludes a classifier's last layer.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from yolo_stability.interventions.choice import Argument
from yolo_stability.interventions.clips._base import Clip, Gradient
from yolo_stability.interventions.clips._ops import shortening

__all__ = ["AdaptiveClip"]

_SMALLEST_WEIGHT = 1e-3
_SMALLEST_GRADIENT = 1e-6


class AdaptiveClip(Clip):
    """Bounds the relative update of each unit.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
        >>> weight.grad = torch.tensor([[6.0, 8.0]])
        >>> gradient = Gradient(params=[weight], total=torch.tensor(10.0), norm=10.0)
        >>> round(AdaptiveClip(0.01).apply(gradient).item(), 6)
        0.005
        >>> round(weight.grad.norm().item(), 6)
        0.05
    """

    argument: ClassVar[Argument] = Argument(
        meaning="the largest ratio of a unit's gradient to its weights", default=0.01, example=0.01
    )

    @torch.no_grad()
    def apply(self, gradient: Gradient) -> Tensor:
        """Scale each unit's gradient down to its bound, and return the ratio of total norms."""
        grads = [p.grad for p in gradient.params if p.grad is not None]
        bounds = [
            _unit_norm(p).clamp_(min=_SMALLEST_WEIGHT).mul_(self.value) for p in gradient.params
        ]
        norms = [_unit_norm(g) for g in grads]
        factors = [
            torch.where(norm < bound, 1.0, bound / norm.clamp(min=_SMALLEST_GRADIENT))
            for norm, bound in zip(norms, bounds, strict=True)
        ]
        torch._foreach_mul_(grads, factors)
        return shortening(gradient)


def _unit_norm(tensor: Tensor) -> Tensor:
    """Return the norm over all but the first dimension, broadcastable to the tensor."""
    dims = tuple(range(1, tensor.ndim))
    norm: Tensor = torch.linalg.vector_norm(tensor, dim=dims or None, keepdim=bool(dims))
    return norm
