"""`init=orthogonal`: rows (or columns) orthogonal, so that a linear layer keeps lengths (Saxe et al. 2014)."""

from __future__ import annotations

from torch import Tensor, nn

from yolo_stability.interventions.inits._base import Init

__all__ = ["OrthogonalInit"]


class OrthogonalInit(Init):
    """Each filter is one row."""

    def weight(self, weight: Tensor) -> None:
        """Draw."""
        nn.init.orthogonal_(weight)
