"""Gradient clipping: what stands between the gradients of a step and its update.

Each kind of clip is one file in `clips/`. A clip sees gradients that are complete (accumulated, reduced over ranks,
unscaled) and measured; it changes them in place.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from yolo_stability.gradients.norms import tensor_norms, total_norm
from yolo_stability.interventions.choice import Choice, split_choice
from yolo_stability.interventions.registries import CLIPS

__all__ = ["STOCK_CLIP", "Clip", "Gradient", "make_clip", "scale_to", "shortening"]

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

    A total of NaN makes every element NaN, as in torch. A total of inf (an element is inf, or finite ones overflow
    float32) makes every finite element 0 and every other NaN.

    Args:
        gradient: What to scale.
        max_norm: The bound; infinite for none, which touches nothing, whatever the total is.

    Returns:
        The coefficient min(1, max_norm / (total + 1e-6)); NaN if the total is, 1 if nothing can get shorter.
    """
    if math.isinf(max_norm) or gradient.norm == 0:
        return 1.0
    torch.nn.utils.clip_grads_with_norm_(
        gradient.params, max_norm, gradient.total, foreach=gradient.foreach
    )
    if math.isnan(gradient.norm):
        return math.nan
    return min(1.0, max_norm / (gradient.norm + 1e-6))


def shortening(gradient: Gradient) -> Tensor:
    """Measure how much shorter the gradients have become; for clips that do not scale all of them alike.

    Args:
        gradient: The total norm as it was, and parameters whose gradients have been clipped since.

    Returns:
        Norm now over norm before, 0-dim on the device; 1 where it was 0 before. NaN where no ratio exists: an element
        is not finite, or both norms overflow float32.
    """
    grads = [p.grad for p in gradient.params if p.grad is not None]
    after = total_norm(grads, tensor_norms(grads))
    return torch.where(gradient.total == 0, 1.0, after / gradient.total)
