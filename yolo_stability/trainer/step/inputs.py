"""What a preprocessed batch holds: images, labeled objects, and statistics of its pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

__all__ = ["BatchCounts", "input_statistics", "is_sampled"]

_DENSE, _EVERY = 64, 4
_SAMPLE = 2**18  # values of the standard deviation; those of 8 images of 96 pixels are fewer
_UNKNOWN = torch.zeros(0)


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """Numbers of one batch.

    Attributes:
        images: Number of images; None if unknown.
        objects: Number of labeled objects; None where batches have no such labels.
    """

    images: int | None = None
    objects: int | None = None

    @classmethod
    def of(cls, batch: Mapping[str, Any]) -> Self:
        """Count what a batch in Ultralytics' layout holds.

        A detector's batch has one row of `cls` and `batch_idx` per object; a classifier's has one
        class per image and no `batch_idx`.

        Example:
            >>> batch = {"img": torch.zeros(2, 3, 8, 8), "cls": torch.zeros(5, 1)}
            >>> BatchCounts.of({**batch, "batch_idx": torch.tensor([0, 0, 1, 1, 1])})
            BatchCounts(images=2, objects=5)
            >>> BatchCounts.of(batch)
            BatchCounts(images=2, objects=None)
        """
        images, owners = batch.get("img"), batch.get("batch_idx")
        labeled = isinstance(owners, Tensor) and "cls" in batch
        return cls(
            len(images) if isinstance(images, Tensor) and images.ndim else None,
            owners.numel() if labeled and isinstance(owners, Tensor) else None,
        )

    def __add__(self, other: BatchCounts) -> BatchCounts:
        """Return the sums; a sum with an unknown number is unknown."""
        return BatchCounts(
            _sum(self.images, other.images),
            _sum(self.objects, other.objects),
        )


def _sum(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a + b


def is_sampled(step: int) -> bool:
    """Return whether the input of a step is measured: each of the first 64, then every 4th.

    Args:
        step: Optimizer step, counted from 0.
    """
    return step < _DENSE or step % _EVERY == 0


@torch.no_grad()
def input_statistics(images: Any) -> Tensor:
    """Return smallest, largest, mean value and standard deviation, on the device, shape (4,).

    Half precision is measured in float32: the sum of a large float16 image overflows. The standard
    deviation of large images is that of every k-th row and column.

    Args:
        images: The preprocessed images; anything but a tensor with values gives an empty result.

    Example:
        >>> input_statistics(torch.tensor([0.0, 1.0, 0.5, 0.5])).tolist()
        [0.0, 1.0, 0.5, 0.3535533845424652]
    """
    if not isinstance(images, Tensor) or not images.numel() or images.is_complex():
        return _UNKNOWN
    values = images.detach()
    values = values if values.dtype in {torch.float32, torch.float64} else values.float()
    if values.ndim == 4 and not values.is_contiguous():  # channels last: reduced in storage order
        values = values.permute(0, 2, 3, 1)
    lowest, highest = torch.aminmax(values)
    mean = values.mean()
    part = values
    if values.numel() > _SAMPLE and values.ndim == 4:
        stride = math.ceil(math.sqrt(values.numel() / _SAMPLE)) | 1  # odd: off the pattern of tiles
        every = slice(None, None, stride)
        part = images.detach()[..., every, every].to(values.dtype)
    # several times as fast as `torch.std` on the CPU, whose algorithm is not vectorized
    spread = torch.linalg.vector_norm(part - mean) / math.sqrt(part.numel())
    return torch.stack([lowest, highest, mean, spread])
