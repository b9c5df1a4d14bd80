"""`clip=none`: leave the gradient as it is; Ultralytics itself offers no way to do so."""

from __future__ import annotations

from yolo_stability.interventions.clips._base import Clip, Gradient

__all__ = ["NoClip"]


class NoClip(Clip):
    """Clips nothing."""

    def apply(self, gradient: Gradient) -> None:
        """Do nothing."""
