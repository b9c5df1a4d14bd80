"""`init=gain:3`: the default weights times a factor, a deliberately poor initialization."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from yolo_stability.interventions.choice import Argument
from yolo_stability.interventions.inits._base import Init

__all__ = ["GainInit"]


class GainInit(Init):
    """Multiplies the existing weights."""

    argument: ClassVar[Argument] = Argument(meaning="the factor", example=3.0)
    hidden_by_norm: ClassVar[bool] = True

    def weight(self, weight: Tensor) -> None:
        """Multiply the weight by the factor."""
        weight.mul_(self.value)
