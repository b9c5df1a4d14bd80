"""`init=default`: torch's own weights, uniform with a bound of 1 / sqrt(fan-in)."""

from __future__ import annotations

from torch import nn

from yolo_stability.interventions.inits._base import Init

__all__ = ["DefaultInit"]


class DefaultInit(Init):
    """Leaves the model unchanged and draws no random numbers."""

    def apply(self, model: nn.Module) -> int:
        """Leave the model unchanged."""
        return 0
