"""Gradient clipping: what stands between the gradients of a step and its update.

Each kind of clip is one file in `clips/`. A clip sees gradients that are complete (accumulated, reduced over ranks,
unscaled) and measured; it changes them in place.
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
"""What Ultralytics does, hard-coded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradient:
    """The gradients of one optimizer step, after `scaler.unscale_`.

    Attributes:
        params: Parameters that have one.
        total: Their total L2 norm, 0-dim on the device; inf or NaN where it is not finite in float32.
        norm: The same on the host.
        foreach: As torch's own clipping functions take it; None lets torch choose.
    """

    params: Sequence[torch.nn.Parameter]
    total: Tensor
    norm: float
    foreach: bool | None = None


class Clip(Choice, ABC):
    """One way to bound a gradient; a subclass in its own file is all that a new one takes."""

    @abstractmethod
    def apply(self, gradient: Gradient) -> float | Tensor | None:
        """Clip in place.

        Args:
            gradient: What to clip.

        Returns:
            The clip coefficient: norm afterwards over norm before. A float where the host knows it, else a 0-dim
            tensor (which nobody waits for); None where nothing clips.
        """

    def max_norm(self) -> float | None:
        """Return the fixed norm that this clip enforces, or None if it has none."""
        return None
