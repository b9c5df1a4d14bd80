"""`norm=group`: GroupNorm (Wu and He 2018), which does not look at other images of the batch."""

from __future__ import annotations

import math

from torch import nn

from yolo_stability.interventions.norms._base import Norm

__all__ = ["GroupNorm"]

_GROUPS = 32


class GroupNorm(Norm):
    """Normalises groups of channels of one image: 32 as in the paper, or the largest power of two that divides."""

    def layer(self, channels: int) -> nn.Module:
        """Return a GroupNorm."""
        return nn.GroupNorm(math.gcd(_GROUPS, channels), channels)
