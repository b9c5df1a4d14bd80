"""`norm=none`: no normalization; each convolution gets a bias instead."""

from __future__ import annotations

from yolo_stability.interventions.norms._base import Norm

__all__ = ["NoNorm"]


class NoNorm(Norm):
    """Removes BatchNorm without a replacement."""

    def layer(self, channels: int) -> None:
        """Return nothing: no layer is inserted."""
