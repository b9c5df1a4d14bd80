"""The gradient of the first micro-batch of a window: what the gradient noise scale is estimated from."""

from __future__ import annotations

import torch
from torch import Tensor

from yolo_stability.gradients.norms import BlockIndex, tensor_norms

__all__ = ["gradient_norm"]


@torch.no_grad()
def gradient_norm(index: BlockIndex) -> Tensor:
    """Return the total norm of the gradients as they lie there, on their device, shape (1,); nothing waits for it.

    After the first backward of a window they are those of one micro-batch, after the last the sum of all. They are
    still multiplied by AMP's scale, and under DDP already averaged over the ranks, as the sum is.

    Args:
        index: The parameters.
    """
    grads, _ = index.with_gradient()
    norm: Tensor = torch.linalg.vector_norm(tensor_norms(grads), 2.0).reshape(1)
    return norm
