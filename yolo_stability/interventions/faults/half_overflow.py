"""`fault=half_overflow@3`: from optimizer step N on gradients overflow as at a fixed AMP scale.

The scale is 65536: a gradient of 1 or more becomes infinite, as one of 65520 or more does in half
precision, and a tiny one becomes 0. A scaler that calibrates itself would halve its scale until
nothing overflows; this scale is fixed.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from yolo_stability.compat.ultralytics import inner_model
from yolo_stability.interventions.faults._base import Fault

__all__ = ["HalfOverflow"]

_SCALE = 65536.0


class HalfOverflow(Fault):
    """Rounds every gradient to float16 at a fixed scale."""

    counts: ClassVar[str] = "optimizer step"

    @torch.no_grad()
    def on_gradients(self, trainer: Any, step: int) -> None:
        """Round every gradient from the given step on."""
        if not self.at or step < min(self.at):
            return
        scaler = getattr(trainer, "scaler", None)  # an enabled one has already scaled the gradients
        factor = _SCALE / (
            scaler.get_scale() if scaler is not None and scaler.is_enabled() else 1.0
        )
        for p in inner_model(trainer).parameters():
            if p.grad is not None:
                p.grad.copy_((p.grad * factor).half().to(p.grad.dtype) / factor)
