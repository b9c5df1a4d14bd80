"""`clip=auto:10`: AutoClip, clips to a percentile of all norms so far (Seetharaman et al. 2020).

arXiv 2007.14469. The complete history is kept sorted: a million steps take 8 MB and 0.04 ms for the
last of them. After a resume it starts empty.
"""

from __future__ import annotations

import bisect
import math
from array import array
from typing import ClassVar

from yolo_stability.interventions.choice import Argument
from yolo_stability.interventions.clips._base import Clip, Gradient
from yolo_stability.interventions.clips._ops import scale_to

__all__ = ["AutoClip"]


class AutoClip(Clip):
    """Derives the bound from the norms of the run, including the current one.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> clip, coefficients = AutoClip(50.0), []
        >>> for norm in (1.0, 1.0, 100.0):
        ...     weight.grad = torch.tensor([norm])
        ...     gradient = Gradient(params=[weight], total=torch.tensor(norm), norm=norm)
        ...     coefficients.append(round(clip.apply(gradient), 4))
        >>> coefficients
        [1.0, 1.0, 0.01]
    """

    argument: ClassVar[Argument] = Argument(
        meaning="the percentile of the norms so far", default=10.0, high=100.0, example=10.0
    )

    def __init__(self, value: float | None = None) -> None:
        super().__init__(value)
        self._history = array("d")

    def apply(self, gradient: Gradient) -> float:
        """Add the norm to the history, if it is finite, and clip to the percentile."""
        if math.isfinite(gradient.norm):
            bisect.insort(self._history, gradient.norm)
        return scale_to(gradient, self._percentile())

    def _percentile(self) -> float:
        """Return the percentile of the sorted history, interpolated linearly as in numpy."""
        if not self._history:
            return math.inf
        place = self.value / 100 * (len(self._history) - 1)
        low = math.floor(place)
        high = min(low + 1, len(self._history) - 1)
        return self._history[low] + (place - low) * (self._history[high] - self._history[low])
