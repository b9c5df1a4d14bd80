"""`init=kaiming`: normal, for equal variance across layers with ReLU (He et al. 2015).

It uses the fan-in: torch ignores groups in its fan-out, which would make depthwise filters far too
small.
"""

from __future__ import annotations

from torch import Tensor, nn

from yolo_stability.interventions.inits._base import Init

__all__ = ["KaimingInit"]


class KaimingInit(Init):
    """Kaiming initialization, the usual choice for ReLU-like activations."""

    def weight(self, weight: Tensor) -> None:
        """Draw the weight."""
        nn.init.kaiming_normal_(weight, mode="fan_in", nonlinearity="relu")
