"""`norm=none`: no normalisation; each convolution gets a bias instead."""

from __future__ import annotations

from yolo_stability.interventions.norms._base import Norm

__all__ = ["NoNorm"]


class NoNorm(Norm):
    """Puts nothing in the place of BatchNorm."""

    def layer(self, channels: int) -> None:
        """Nothing is put in."""
