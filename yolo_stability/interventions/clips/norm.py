"""`clip=norm:10`: scale the whole gradient down to a norm (Pascanu et al. 2013, arXiv 1211.5063)."""

from __future__ import annotations

from typing import ClassVar

from yolo_stability.interventions.choice import Argument
from yolo_stability.interventions.clips._base import Clip, Gradient
from yolo_stability.interventions.clips._ops import scale_to

__all__ = ["NormClip"]


class NormClip(Clip):
    """Keeps the direction and bounds the length; `norm:10` is what Ultralytics does, bit for bit."""

    argument: ClassVar[Argument] = Argument(
        meaning="the largest total norm", default=10.0, example=10.0
    )

    def apply(self, gradient: Gradient) -> float:
        """Scale by min(1, max_norm / (total + 1e-6))."""
        return scale_to(gradient, self.value)

    def max_norm(self) -> float:
        """Return the bound."""
        return self.value
