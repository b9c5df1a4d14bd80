"""The iterations between two optimizer steps: their losses, summed without waiting for the device."""

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
    """Losses of the iterations whose gradients the next optimizer step will sum.

    Attributes:
        iterations: Iterations absorbed so far.
        loss: Sum of the losses, 0-dim on the device; None before the first.
        items: Sum of each named loss item.
        pending: A forward has begun and its loss is not absorbed yet.
        micro_norm: Norm of the gradient of the first iteration, as it lay there, shape (1,); empty where not measured.
    """

    iterations: int = 0
    loss: Tensor | None = None
    items: dict[str, Tensor] = field(default_factory=dict)
    pending: bool = False
    micro_norm: Tensor = _UNKNOWN

    def begin(self) -> None:
        """Note that an iteration starts."""
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
        """Forget everything: the step was taken, skipped, or the loop started over."""
        self.iterations, self.loss, self.items, self.pending = 0, None, {}, False
        self.micro_norm = _UNKNOWN


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
