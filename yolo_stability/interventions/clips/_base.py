"""Base class of gradient clips, applied between the measurement of a gradient and the update.

Each kind of clip is one file in `clips/`. A clip receives gradients that are complete (accumulated,
reduced over ranks, unscaled) and measured; it changes them in place.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from yolo_stability.interventions.choice import Choice

__all__ = ["STOCK_CLIP", "Clip", "Gradient"]

STOCK_CLIP = "norm:10"
"""The hard-coded clip of Ultralytics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradient:
    """Gradients of one optimizer step, after `scaler.unscale_`.

    Attributes:
        params: Parameters that have a gradient.
        total: Total L2 norm, 0-dim on the device; inf or NaN if it is not finite in float32.
        norm: The same value on the host.
        foreach: Passed to torch's own clipping functions; None lets torch choose.
    """

    params: Sequence[torch.nn.Parameter]
    total: Tensor
    norm: float
    foreach: bool | None = None


class Clip(Choice, ABC):
    """Base class of gradient clips; a new clip is one subclass in its own file.

    Example:
        >>> class HalfClip(Clip):
        ...     def apply(self, gradient):
        ...         for parameter in gradient.params:
        ...             parameter.grad.mul_(0.5)
        ...         return 0.5
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> weight.grad = torch.tensor([3.0, 4.0])
        >>> HalfClip().apply(Gradient(params=[weight], total=torch.tensor(5.0), norm=5.0))
        0.5
        >>> weight.grad.tolist()
        [1.5, 2.0]
    """

    @abstractmethod
    def apply(self, gradient: Gradient) -> float | Tensor | None:
        """Clip the gradients in place.

        Args:
            gradient: Gradients to clip.

        Returns:
            The clip coefficient: norm after clipping over norm before. A float if it is known on
            the host, otherwise a 0-dim tensor, which is read later without a synchronization; None
            if nothing is clipped.
        """

    def max_norm(self) -> float | None:
        """Return the fixed norm that this clip enforces, or None if there is none."""
        return None
