"""Losses of the iterations between two optimizer steps, summed without a device synchronization."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from yolo_stability.gradients.norms import BlockIndex, tensor_norms
from yolo_stability.trainer.step.loop_state import LoopState

__all__ = ["Window", "gradient_norm"]

_UNKNOWN = torch.zeros(0)


@dataclass(slots=True)
class Window:
    """Losses of the iterations whose gradients are accumulated for the next optimizer step.

    Attributes:
        iterations: Number of iterations added so far.
        loss: Sum of the losses, 0-dim on the device; None before the first one.
        items: Sum of each named loss item.
        pending: Whether a forward pass has started whose loss has not been added yet.
        micro_norm: Gradient norm of the first iteration, shape (1,), not unscaled; empty if not
            measured.
    """

    iterations: int = 0
    loss: Tensor | None = None
    items: dict[str, Tensor] = field(default_factory=dict)
    pending: bool = False
    micro_norm: Tensor = _UNKNOWN

    def begin(self) -> None:
        """Register the start of an iteration."""
        self.pending = True

    def absorb(self, state: LoopState) -> None:
        """Add the losses of the current iteration, once."""
        if not self.pending or state.loss is None:
            return
        self.pending = False
        self.iterations += 1
        loss = state.loss.detach()
        self.loss = loss if self.loss is None else self.loss + loss
        for name, value in state.loss_items().items():
            self.items[name] = self.items[name] + value if name in self.items else value

    def clear(self) -> None:
        """Reset the window after a step, a skip or a restart of the loop."""
        self.iterations, self.loss, self.items, self.pending = 0, None, {}, False
        self.micro_norm = _UNKNOWN


@torch.no_grad()
def gradient_norm(index: BlockIndex) -> Tensor:
    """Return the total norm of the current gradients on their device, without a synchronization.

    After the first backward pass of a window these are the gradients of one micro-batch, after the
    last one the sum of all. They are still multiplied by AMP's loss scale and, under DDP, already
    averaged over the ranks.

    Args:
        index: Parameters of the model.

    Returns:
        The norm, shape (1,).
    """
    grads, _ = index.with_gradient()
    norm: Tensor = torch.linalg.vector_norm(tensor_norms(grads), 2.0).reshape(1)
    return norm
