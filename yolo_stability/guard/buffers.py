"""Snapshot of model buffers (BatchNorm statistics), and their finiteness check."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["BufferSnapshot"]


class BufferSnapshot:
    """A copy of a model's buffers.

    An inf pixel leaves NaN in BatchNorm's running statistics while the loss may stay finite, and
    the EMA would average it in permanently; so a skipped step must also undo the changes of its
    forward passes to the buffers.

    Buffers are many and small (228 of about 86 numbers each in YOLO26n): they are joined into one
    vector, which takes a tenth of the time of processing them one by one.

    Args:
        model: Any module; its buffers must keep their identity (they are written in place).

    Attributes:
        watched: Names of the floating-point buffers that were finite at the start.
    """

    def __init__(self, model: nn.Module) -> None:
        buffers = {n: b for n, b in model.named_buffers() if b.numel()}
        self._floating = [b for b in buffers.values() if b.is_floating_point()]
        self._counters = [b for b in buffers.values() if not b.is_floating_point()]
        # an attention mask may contain -inf permanently
        self.watched = tuple(
            n for n, b in buffers.items() if b.is_floating_point() and bool(torch.isfinite(b).all())
        )
        # flat views are created once: creating hundreds of them takes longer than joining them
        self._flat_floating, self._flat_counters = _flat(self._floating), _flat(self._counters)
        self._flat_watched = _flat([buffers[n] for n in self.watched])
        self._all_watched = len(self._flat_watched) == len(self._flat_floating)
        self._saved: list[Tensor] = []
        self._seen: tuple[Tensor, int] | None = None
        self._marks = [
            *self._floating[:1],
            *self._floating[-1:],
            *self._counters[:1],
            *self._counters[-1:],
        ]

    @torch.no_grad()
    def take(self) -> None:
        """Copy the current buffers."""
        seen, self._seen = self._seen, None
        # no write since the last check
        fresh = seen is not None and seen[1] == self._version()
        floating = seen[0] if seen is not None and fresh else _joined(self._flat_floating)
        self._saved = [floating, _joined(self._flat_counters)]

    @torch.no_grad()
    def restore(self) -> None:
        """Restore the copied values, in place."""
        for group, saved in zip(
            (self._flat_floating, self._flat_counters), self._saved, strict=True
        ):
            for line, values in zip(
                group, torch.split(saved, [len(line) for line in group]), strict=True
            ):
                line.copy_(values)

    @torch.no_grad()
    def largest(self) -> Tensor:
        """Return the largest magnitude over the watched buffers, shape (1,) or empty.

        It is NaN or inf exactly if some element is: unlike a norm, a maximum cannot overflow.
        """
        if not self._flat_watched:
            return torch.zeros(0)
        joined = _joined(self._flat_watched)
        self._seen = (joined, self._version()) if self._all_watched else None
        return joined.abs().max().reshape(1)

    def _version(self) -> int:
        """Return a number that grows with every write to the buffers, by a forward or by a load.

        Only the first and the last buffers are read, since reading all of them costs as much as
        joining them. The counters must be among them: BatchNorm's forward hides its writes to the
        running statistics from torch.
        """
        return sum(b._version for b in self._marks)


def _flat(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return flat views in memory order: on CUDA Ultralytics trains with channels last."""
    return [
        t.detach().permute(sorted(range(t.dim()), key=t.stride, reverse=True)).view(-1)
        for t in tensors
    ]


def _joined(flat: Sequence[Tensor]) -> Tensor:
    """Return the values of all one-dimensional tensors as one new vector."""
    return torch.cat(list(flat)) if flat else torch.zeros(0)
