"""`fault=half_overflow@3`: from optimizer step N on gradients overflow as under an AMP scale stuck at 65536.

A gradient of 1 or more is then infinite, as one of 65520 or more is in half precision, and a tiny one is 0. A scale
that calibrates itself would halve until nothing overflows; this one does not.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from yolo_stability.compat.ultralytics import inner_model
from yolo_stability.interventions.faults._base import Fault

__all__ = ["HalfOverflow"]

_SCALE = 65536.0


class HalfOverflow(Fault):
    """Passes every gradient through float16 at a fixed scale."""

    counts: ClassVar[str] = "optimizer step"

    @torch.no_grad()
    def on_gradients(self, trainer: Any, step: int) -> None:
        """Round every gradient, once the moment has come."""
        if not self.at or step < min(self.at):
            return
        scaler = getattr(trainer, "scaler", None)  # a real one has multiplied already
        factor = _SCALE / (
            scaler.get_scale() if scaler is not None and scaler.is_enabled() else 1.0
        )
        for p in inner_model(trainer).parameters():
            if p.grad is not None:
                p.grad.copy_((p.grad * factor).half().to(p.grad.dtype) / factor)
