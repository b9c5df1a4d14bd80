"""`clip=zclip:2.5`: ZClip, clips norms that exceed their recent average (Kumar et al. 2025).

arXiv 2504.02507. Mean and variance of the norm are exponential averages (alpha 0.97). A norm with a
z-score above the threshold is reduced to mean + threshold^2 / z x deviation, so a larger outlier is
reduced further ("adaptive scaling"), and the clipped norm enters the averages. The first 25 norms
only initialize them. The paper's optional fixed bound is not used. After a resume the averages are
initialized again.
"""

from __future__ import annotations

import math
from typing import ClassVar

from yolo_stability.interventions.choice import Argument
from yolo_stability.interventions.clips._base import Clip, Gradient
from yolo_stability.interventions.clips._ops import scale_to

__all__ = ["ZClip"]

_ALPHA = 0.97
_WARM_UP = 25
_TINY = 1e-6


class ZClip(Clip):
    """Clips spikes and leaves other gradients unchanged.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> clip = ZClip(2.5)
        >>> for norm in [*[1.0, 1.2] * 13, 100.0]:
        ...     weight.grad = torch.tensor([norm])
        ...     gradient = Gradient(params=[weight], total=torch.tensor(norm), norm=norm)
        ...     coefficient = clip.apply(gradient)
        >>> coefficient < 0.02
        True
    """

    argument: ClassVar[Argument] = Argument(
        meaning="the z-score above which a norm is a spike", default=2.5, example=2.5
    )

    def __init__(self, value: float | None = None) -> None:
        super().__init__(value)
        self._first: list[float] = []
        self._mean = self._variance = math.nan

    def apply(self, gradient: Gradient) -> float:
        """Clip a spike, then update the averages; a norm that is not finite does not enter them."""
        if not math.isfinite(gradient.norm):
            return scale_to(gradient, math.inf if math.isnan(self._mean) else self._mean)
        bound = self._bound(gradient.norm)
        self._learn(min(gradient.norm, bound))
        return scale_to(gradient, bound)

    def _bound(self, norm: float) -> float:
        """Return the largest norm that is currently allowed."""
        if math.isnan(self._mean):
            return math.inf
        deviation = math.sqrt(self._variance)
        z = (norm - self._mean) / (deviation + _TINY)
        return math.inf if z <= self.value else self._mean + self.value**2 / z * deviation

    def _learn(self, norm: float) -> None:
        """Update the averages with a norm."""
        if not math.isnan(self._mean):
            self._mean = _ALPHA * self._mean + (1 - _ALPHA) * norm
            self._variance = _ALPHA * self._variance + (1 - _ALPHA) * (norm - self._mean) ** 2
            return
        self._first.append(norm)
        if len(self._first) == _WARM_UP:
            self._mean = math.fsum(self._first) / _WARM_UP
            self._variance = math.fsum((x - self._mean) ** 2 for x in self._first) / _WARM_UP
            self._first.clear()
