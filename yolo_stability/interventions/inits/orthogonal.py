"""`init=orthogonal`: orthogonal rows (or columns), which preserve norms (Saxe et al. 2014)."""

from __future__ import annotations

from torch import Tensor, nn

from yolo_stability.interventions.inits._base import Init

__all__ = ["OrthogonalInit"]


class OrthogonalInit(Init):
    """Orthogonal initialization; each filter is one row."""

    def weight(self, weight: Tensor) -> None:
        """Draw the weight."""
        nn.init.orthogonal_(weight)
