"""`norm=group`: GroupNorm, independent of the other images of the batch (Wu and He 2018)."""

from __future__ import annotations

import math

from torch import nn

from yolo_stability.interventions.norms._base import Norm

__all__ = ["GroupNorm"]

_GROUPS = 32


class GroupNorm(Norm):
    """Normalizes groups of channels per image: 32, or the largest power of two that divides."""

    def layer(self, channels: int) -> nn.Module:
        """Return a GroupNorm."""
        return nn.GroupNorm(math.gcd(_GROUPS, channels), channels)
