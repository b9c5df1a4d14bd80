"""`fault=nan_grad@3`: one element of one gradient is NaN at optimizer step N."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from yolo_stability.compat.ultralytics import inner_model
from yolo_stability.interventions.faults._base import Fault

__all__ = ["NanGradient"]


class NanGradient(Fault):
    """Damages a parameter in the middle of the model."""

    counts: ClassVar[str] = "optimizer step"
    hits: ClassVar[str] = "the gradients"

    def on_gradients(self, trainer: Any, step: int) -> None:
        """Write the NaN at a given step."""
        if step not in self.at:
            return
        grads = [p.grad for p in inner_model(trainer).parameters() if p.grad is not None]
        grads[len(grads) // 2].view(-1)[0] = torch.nan
