"""`init=xavier`: uniform, for equal variance forward and backward (Glorot and Bengio 2010)."""

from __future__ import annotations

from torch import Tensor, nn

from yolo_stability.interventions.inits._base import Init

__all__ = ["XavierInit"]


class XavierInit(Init):
    """Xavier initialization, for activations that are linear around zero."""

    def weight(self, weight: Tensor) -> None:
        """Draw the weight."""
        nn.init.xavier_uniform_(weight)
