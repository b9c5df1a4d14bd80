"""`norm=layer`: layer normalization over all channels and positions of one image (Ba et al. 2016).

It is GroupNorm with a single group, the usual form for convolutions.
"""

from __future__ import annotations

from torch import nn

from yolo_stability.interventions.norms._base import Norm

__all__ = ["LayerNorm"]


class LayerNorm(Norm):
    """Normalizes each image by itself."""

    def layer(self, channels: int) -> nn.Module:
        """Return a GroupNorm of one group."""
        return nn.GroupNorm(1, channels)
