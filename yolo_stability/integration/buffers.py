"""Model buffers (BatchNorm statistics): a copy from before the forward, and whether they are still finite."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["BufferSnapshot"]


class BufferSnapshot:
    """A copy of a model's buffers.

    An inf pixel leaves NaN in BatchNorm's running statistics while the loss may stay finite, and the EMA would
    average it in for good; so a skipped step must also undo what its forwards did to the buffers.

    Buffers are many and small (228 of about 86 numbers each in YOLO26n): they are joined into one vector, which takes
    a tenth of the time of looking at them one by one.

    Args:
        model: Any module; its buffers must keep their identity (they are written in place).

    Attributes:
        watched: Names of the floating buffers that were finite at the start.
    """

    def __init__(self, model: nn.Module) -> None:
        buffers = {n: b for n, b in model.named_buffers() if b.numel()}
        self._floating = [b for b in buffers.values() if b.is_floating_point()]
        self._counters = [b for b in buffers.values() if not b.is_floating_point()]
        # An attention mask may hold -inf for good.
        self.watched = tuple(n for n, b in buffers.items() if b.is_floating_point() and bool(torch.isfinite(b).all()))
        self._watched = [buffers[n] for n in self.watched]
        self._saved: list[Tensor] = []

    @torch.no_grad()
    def take(self) -> None:
        """Remember the buffers as they are now."""
        self._saved = [_joined(group) for group in (self._floating, self._counters) if group]

    @torch.no_grad()
    def restore(self) -> None:
        """Put the remembered values back, in place."""
        groups = [group for group in (self._floating, self._counters) if group]
        for group, saved in zip(groups, self._saved, strict=True):
            for buffer, values in zip(group, torch.split(saved, [b.numel() for b in group]), strict=True):
                buffer.copy_(values.view(buffer.shape))

    @torch.no_grad()
    def largest(self) -> Tensor:
        """Return the largest magnitude over the watched buffers, shape (1,); without any shape (0,).

        It is NaN or inf exactly when some element is: a maximum cannot overflow as a norm can.
        """
        return _joined(self._watched).abs_().max().reshape(1) if self._watched else torch.zeros(0)


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    """Return the values of all tensors as one new vector."""
    return torch.cat([t.reshape(-1) for t in tensors])
