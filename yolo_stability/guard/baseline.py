"""A run's own recent past as the measure of what is healthy; no absolute thresholds, standard library only."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

__all__ = ["Baseline"]


class Baseline:
    """Judges each step against the median of the healthy steps before it.

    A run is unhealthy steps before its first NaN: weights were seen finite at 5e11 one step ahead of it. In 21
    failing runs a norm above 50 times its running median or a loss above 5 times its usual value came 0 to 30 steps
    before the first non-finite value.

    Args:
        norm_factor: A gradient norm above this multiple of the median is unhealthy.
        loss_factor: A loss above this multiple of the median magnitude is unhealthy.
        window: How many healthy steps the medians look back.
        minimum: Below this many healthy steps only finiteness counts.

    Attributes:
        healthy: Healthy steps so far.
    """

    def __init__(
        self,
        *,
        norm_factor: float = 50.0,
        loss_factor: float = 5.0,
        window: int = 128,
        minimum: int = 8,
    ) -> None:
        self._norm_factor, self._loss_factor, self._minimum = norm_factor, loss_factor, minimum
        self._norms: deque[float] = deque(maxlen=window)
        self._losses: deque[float] = deque(maxlen=window)
        self.healthy = 0

    def judge(self, loss: float, grad_norm: float) -> bool:
        """Return whether a step is healthy, and learn from it if it is.

        Args:
            loss: Loss of the step; may be negative (the RLE loss of YOLO26 pose is).
            grad_norm: Total gradient norm before clipping.
        """
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            return False
        if len(self._norms) >= self._minimum:
            if grad_norm > self._norm_factor * median(self._norms):
                return False
            if loss > self._loss_factor * median(self._losses):
                return False
        self.healthy += 1
        self._norms.append(grad_norm)
        self._losses.append(abs(loss))
        return True
