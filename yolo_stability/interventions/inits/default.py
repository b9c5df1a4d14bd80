"""`init=default`: the weights that torch draws, uniform with a bound of 1 / sqrt(fan-in)."""

from __future__ import annotations

from torch import nn

from yolo_stability.interventions.inits._base import Init

__all__ = ["DefaultInit"]


class DefaultInit(Init):
    """Leaves the model alone; not even random numbers are drawn."""

    def apply(self, model: nn.Module) -> int:
        """Change nothing."""
        return 0
