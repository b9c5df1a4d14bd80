"""`l1=1e-5`: the gradient of an L1 penalty on the weights, as textbooks add it to the loss.

It is added after the gradients are measured and before they are clipped, so the recorded norms are
those of the loss alone. As with weight decay, biases and normalization layers are excluded. For L2
use Ultralytics' `weight_decay`.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

__all__ = ["add_l1", "penalized"]


def penalized(params: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Return the penalized parameters: weights of at least two dimensions that have a gradient."""
    return [p for p in params if p.ndim > 1 and p.grad is not None]


@torch.no_grad()
def add_l1(params: Iterable[nn.Parameter], strength: float) -> None:
    """Add strength x sign(weight) to the gradient of every weight, in place.

    Args:
        params: Parameters of the model.
        strength: Coefficient of the sum of magnitudes in the loss.

    Example:
        >>> weight = nn.Parameter(torch.tensor([[2.0, -3.0]]))
        >>> weight.grad = torch.zeros(1, 2)
        >>> add_l1([weight], 0.5)
        >>> weight.grad.tolist()
        [[0.5, -0.5]]
    """
    weights = penalized(params)
    signs = torch._foreach_sign([p.detach() for p in weights])
    torch._foreach_add_([p.grad for p in weights if p.grad is not None], signs, alpha=strength)
