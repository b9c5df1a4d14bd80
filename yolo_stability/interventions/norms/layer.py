"""`norm=layer`: layer normalisation (Ba et al. 2016) over all channels and places of one image.

That is GroupNorm with a single group, the usual form for convolutions.
"""

from __future__ import annotations

from torch import nn

from yolo_stability.interventions.norms._base import Norm

__all__ = ["LayerNorm"]


class LayerNorm(Norm):
    """Normalises each image by itself."""

    def layer(self, channels: int) -> nn.Module:
        """Return a GroupNorm of one group."""
        return nn.GroupNorm(1, channels)
