"""`init=kaiming`: normal, for equal variance from layer to layer under ReLU-like activations (He et al. 2015).

By fan-in: torch takes no account of groups in its fan-out, which would make depthwise filters far too small.
"""

from __future__ import annotations

from torch import Tensor, nn

from yolo_stability.interventions.inits._base import Init

__all__ = ["KaimingInit"]


class KaimingInit(Init):
    """The usual choice for a network of ReLU-like activations."""

    def weight(self, weight: Tensor) -> None:
        """Draw."""
        nn.init.kaiming_normal_(weight, mode="fan_in", nonlinearity="relu")
