"""Arithmetic shared by several clips."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from yolo_stability.gradients.norms import tensor_norms, total_norm
from yolo_stability.interventions.clips._base import Gradient

__all__ = ["scale_to", "shortening"]


def scale_to(gradient: Gradient, max_norm: float) -> float:
    """Scale all gradients to a total norm of at most `max_norm`, exactly as `clip_grad_norm_` does.

    A total of NaN makes every element NaN, as in torch. A total of inf (an element is inf, or
    finite ones overflow float32) makes every finite element 0 and every other NaN.

    Args:
        gradient: Gradients to scale.
        max_norm: The bound; infinity leaves the gradients unchanged, whatever the total.

    Returns:
        The coefficient min(1, max_norm / (total + 1e-6)); NaN if the total is NaN, 1 if nothing is
        scaled.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> weight.grad = torch.tensor([3.0, 4.0])
        >>> gradient = Gradient(params=[weight], total=torch.tensor(5.0), norm=5.0)
        >>> round(scale_to(gradient, 1.0), 4)
        0.2
        >>> round(weight.grad.norm().item(), 4)
        1.0
    """
    if math.isinf(max_norm) or gradient.norm == 0:
        return 1.0
    torch.nn.utils.clip_grads_with_norm_(
        gradient.params, max_norm, gradient.total, foreach=gradient.foreach
    )
    if math.isnan(gradient.norm):
        return math.nan
    return min(1.0, max_norm / (gradient.norm + 1e-6))


def shortening(gradient: Gradient) -> Tensor:
    """Return clipped over original norm, for clips that scale gradients unequally.

    Args:
        gradient: Original total norm, and parameters whose gradients have been clipped since.

    Returns:
        Norm after over norm before, 0-dim on the device; 1 if the norm was 0. NaN if the ratio is
        undefined: an element is not finite, or both norms overflow float32.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> weight.grad = torch.tensor([0.3, 0.4])
        >>> gradient = Gradient(params=[weight], total=torch.tensor(5.0), norm=5.0)
        >>> round(shortening(gradient).item(), 6)
        0.1
    """
    grads = [p.grad for p in gradient.params if p.grad is not None]
    after = total_norm(grads, tensor_norms(grads))
    return torch.where(gradient.total == 0, 1.0, after / gradient.total)
