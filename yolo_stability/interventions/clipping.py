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

from yolo_stability.interventions.choice import Choice, split_choice
from yolo_stability.interventions.registries import CLIPS

__all__ = ["STOCK_CLIP", "Clip", "Gradient", "make_clip", "scale_to"]

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


def make_clip(text: str) -> Clip:
    """Read a clip such as `norm:10` or `agc:0.01`.

    Args:
        text: `kind` or `kind:number`.

    Raises:
        ConfigError: There is no such clip, or its number is impossible.
    """
    where = f"clip={text}"
    kind, value = split_choice(text, where)
    CLIPS.check(kind, where)
    return CLIPS[kind](value)


def scale_to(gradient: Gradient, max_norm: float) -> float:
    """Scale all gradients so that their total norm is at most `max_norm`, exactly as torch's `clip_grad_norm_` does.

    Args:
        gradient: What to scale.
        max_norm: The bound; infinite for none.

    Returns:
        The coefficient min(1, max_norm / (total + 1e-6)); NaN if the total is.
    """
    torch.nn.utils.clip_grads_with_norm_(gradient.params, max_norm, gradient.total, foreach=gradient.foreach)
    if gradient.norm != gradient.norm or max_norm == gradient.norm == float("inf"):
        return float("nan")
    return min(1.0, max_norm / (gradient.norm + 1e-6))
