"""Losses of the iterations between two optimizer steps, summed without a device synchronization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from yolo_stability.gradients.norms import BlockIndex, tensor_norms
from yolo_stability.trainer.step.inputs import BatchCounts, input_statistics
from yolo_stability.trainer.step.loop_state import LoopState

__all__ = ["Window", "gradient_norm"]

_UNKNOWN = torch.zeros(0)
_NO_IMAGES, _UNCOUNTED = BatchCounts(0, 0), BatchCounts()


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
        counts: Images and objects of the iterations added so far.
        inputs: Statistics of the first input, shape (4,); empty if not measured.
        images_seen: Images of all iterations since the start of the session; None if unknown.
    """

    iterations: int = 0
    loss: Tensor | None = None
    items: dict[str, Tensor] = field(default_factory=dict)
    pending: bool = False
    micro_norm: Tensor = _UNKNOWN
    counts: BatchCounts = _NO_IMAGES
    inputs: Tensor = _UNKNOWN
    images_seen: int | None = 0
    _batch: BatchCounts = _UNCOUNTED

    def begin(self) -> None:
        """Register the start of an iteration."""
        self.pending, self._batch = True, _UNCOUNTED

    def look(self, batch: Mapping[str, Any], *, measure: bool) -> None:
        """Count what the batch of the current iteration holds.

        Args:
            batch: The preprocessed batch.
            measure: Whether to measure its pixels, if it is the first of the window.
        """
        self._batch = BatchCounts.of(batch)
        if measure and self.iterations == 0:
            self.inputs = input_statistics(batch.get("img"))

    def absorb(self, state: LoopState) -> None:
        """Add the losses of the current iteration, once."""
        if not self.pending or state.loss is None:
            return
        self.pending = False
        self.iterations += 1
        self.counts += self._batch
        if self.images_seen is not None:
            images = self._batch.images
            self.images_seen = None if images is None else self.images_seen + images
        loss = state.loss.detach()
        self.loss = loss if self.loss is None else self.loss + loss
        for name, value in state.loss_items().items():
            self.items[name] = self.items[name] + value if name in self.items else value

    def clear(self) -> None:
        """Reset the window after a step, a skip or a restart of the loop."""
        self.iterations, self.loss, self.items, self.pending = 0, None, {}, False
        self.micro_norm = self.inputs = _UNKNOWN
        self.counts = _NO_IMAGES


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
