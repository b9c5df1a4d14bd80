"""`clip=auto:10`: AutoClip (Seetharaman et al. 2020, arXiv 2007.14469): clip to a percentile of all norms so far.

The history is kept sorted and whole: a million steps take 8 MB and 0.04 ms for the last of them. It starts anew when a
run is resumed.
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
    """Lets the run's own history say what is too long; the present norm belongs to it."""

    argument: ClassVar[Argument] = Argument(
        meaning="the percentile of the norms so far", default=10.0, high=100.0, example=10.0
    )

    def __init__(self, value: float | None = None) -> None:
        super().__init__(value)
        self._history = array("d")

    def apply(self, gradient: Gradient) -> float:
        """Note the norm and clip to the percentile; a norm that is not finite is not learnt from."""
        if math.isfinite(gradient.norm):
            bisect.insort(self._history, gradient.norm)
        return scale_to(gradient, self._percentile())

    def _percentile(self) -> float:
        """Return the percentile with linear interpolation, as `numpy.percentile`, of the sorted history."""
        if not self._history:
            return math.inf
        place = self.value / 100 * (len(self._history) - 1)
        low = math.floor(place)
        high = min(low + 1, len(self._history) - 1)
        return self._history[low] + (place - low) * (self._history[high] - self._history[low])
