"""Arithmetic that several clips share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from yolo_stability.gradients.norms import tensor_norms, total_norm
from yolo_stability.interventions.clips._base import Gradient

__all__ = ["scale_to", "shortening"]


def scale_to(gradient: Gradient, max_norm: float) -> float:
    """Scale all gradients so that their total norm is at most `max_norm`, exactly as torch's `clip_grad_norm_` does.

    A total of NaN makes every element NaN, as in torch. A total of inf (an element is inf, or finite ones overflow
    float32) makes every finite element 0 and every other NaN.

    Args:
        gradient: What to scale.
        max_norm: The bound; infinite for none, which touches nothing, whatever the total is.

    Returns:
        The coefficient min(1, max_norm / (total + 1e-6)); NaN if the total is, 1 if nothing can get shorter.
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
    """Measure how much shorter the gradients have become; for clips that do not scale all of them alike.

    Args:
        gradient: The total norm as it was, and parameters whose gradients have been clipped since.

    Returns:
        Norm now over norm before, 0-dim on the device; 1 where it was 0 before. NaN where no ratio exists: an element
        is not finite, or both norms overflow float32.
    """
    grads = [p.grad for p in gradient.params if p.grad is not None]
    after = total_norm(grads, tensor_norms(grads))
    return torch.where(gradient.total == 0, 1.0, after / gradient.total)
