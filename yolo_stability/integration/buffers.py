"""Model buffers (BatchNorm statistics): a copy from before the forward, and whether they are still finite."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from yolo_stability.gradstats import tensor_norms

__all__ = ["BufferSnapshot"]


class BufferSnapshot:
    """A preallocated copy of a model's buffers.

    An inf pixel leaves NaN in BatchNorm's running statistics while the loss may stay finite, and the EMA would
    average it in for good; so a skipped step must also undo what its forwards did to the buffers.

    Args:
        model: Any module; its buffers must keep their identity (they are written in place).

    Attributes:
        watched: Names of the floating buffers that were finite at the start.
    """

    def __init__(self, model: nn.Module) -> None:
        buffers = {n: b for n, b in model.named_buffers() if b.numel()}
        self._floating = [b for b in buffers.values() if b.is_floating_point()]
        self._counters = [b for b in buffers.values() if not b.is_floating_point()]
        self._saved = [torch.empty_like(b) for b in (*self._floating, *self._counters)]
        # An attention mask may hold -inf for good.
        self.watched = tuple(n for n, b in buffers.items() if b.is_floating_point() and bool(torch.isfinite(b).all()))
        self._watched = [buffers[n] for n in self.watched]

    @torch.no_grad()
    def take(self) -> None:
        """Remember the buffers as they are now."""
        if self._saved:
            torch._foreach_copy_(self._saved[: len(self._floating)], self._floating)
            for saved, counter in zip(self._saved[len(self._floating) :], self._counters, strict=True):
                saved.copy_(counter)

    @torch.no_grad()
    def restore(self) -> None:
        """Put the remembered values back, in place."""
        for buffer, saved in zip((*self._floating, *self._counters), self._saved, strict=True):
            buffer.copy_(saved)

    def largest(self) -> Tensor:
        """Return the largest magnitude over the watched buffers, shape (1,); without any shape (0,).

        It is NaN or inf exactly when some element is: a maximum cannot overflow as a norm can.
        """
        magnitudes = tensor_norms(self._watched, math.inf)
        return magnitudes.max().reshape(1) if len(magnitudes) else magnitudes
