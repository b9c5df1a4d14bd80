"""Ranges of an incident's numbers: whether images, a module's input and the weights were usual.

A module that returns NaN although all of them are in range is to blame itself, whatever the image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from yolo_stability.guard.incidents.batch import image_files, images_not_finite
from yolo_stability.guard.incidents.search import Culprit
from yolo_stability.guard.incidents.window import KeptBatch

__all__ = ["WeightRange", "image_ranges", "weights_finite"]

_SMALL = 1.0  # weights below it may grow to it: biases start at 0


class WeightRange:
    """Largest weight of each parameter at the start of a session, for comparison.

    Args:
        model: The unwrapped model.
    """

    def __init__(self, model: nn.Module) -> None:
        self._start = _largest_by_name(model)

    def growth(self, model: nn.Module) -> float:
        """Return the factor by which the largest weight of any parameter has grown.

        Weights below 1 count as 1. NaN or inf if a weight is not finite.

        Args:
            model: The same model later, or a copy of it.
        """
        now = _largest_by_name(model)
        factors = [
            top / max(_SMALL, self._start.get(name, _SMALL))
            if math.isfinite(self._start.get(name, _SMALL))
            else math.inf
            for name, top in now.items()
        ]
        return next((f for f in factors if not math.isfinite(f)), max(1.0, *factors))


def weights_finite(model: nn.Module) -> bool:
    """Return whether every parameter and every running statistic is finite."""
    statistics = (
        b for n, b in model.named_buffers() if n.endswith(("running_mean", "running_var"))
    )
    return all(bool(torch.isfinite(t).all()) for t in (*model.parameters(), *statistics))


def image_ranges(culprit: Culprit, kept: KeptBatch | None) -> dict[str, Any]:
    """Return whether the blamed images are finite, and their range beside that of the others.

    Args:
        culprit: Result of the search; if it blames no image, the whole batch counts as blamed.
        kept: The micro-batch that failed; None if none did, or its images were dropped.
    """
    if kept is None or kept.dropped:
        return {}
    images: Tensor = kept.batch["img"]
    files, bad = image_files(kept.batch), set(images_not_finite(kept.batch))
    blamed = [i for i, file in enumerate(files) if file in culprit.images]
    chosen = (blamed or sorted(bad)) if any(files) else sorted(bad)
    chosen = chosen or list(range(len(images)))
    others = [i for i in range(len(images)) if i not in chosen and i not in bad]
    return {
        "images_finite": not bad & set(chosen),
        "largest_pixel": _largest(images[chosen]),
        "other_largest_pixel": _largest(images[others]) if others else None,
    }


def _largest_by_name(model: nn.Module) -> Mapping[str, float]:
    """Return the largest magnitude of each parameter."""
    named = [(n, p.detach()) for n, p in model.named_parameters() if p.numel()]
    if not named:
        return {}
    tops = torch._foreach_norm([p for _, p in named], ord=math.inf)
    return dict(
        zip((n for n, _ in named), torch.stack([t.float() for t in tops]).tolist(), strict=True)
    )


def _largest(images: Tensor) -> float:
    """Return the largest magnitude of a pixel, ignoring NaN."""
    values = images.detach().float().abs().nan_to_num(nan=0.0, posinf=math.inf)
    return float(values.max()) if values.numel() else 0.0
