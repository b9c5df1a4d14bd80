"""Baseline of healthy steps from the run's own history; no absolute thresholds, no dependencies."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

__all__ = ["Baseline"]


class Baseline:
    """Compares each step with the median of the preceding healthy steps.

    A run becomes unhealthy before its first NaN: weights were still finite at 5e11 one step ahead
    of it. In 21 failing runs a norm above 50 times its running median or a loss above 5 times its
    usual value came 0 to 30 steps before the first non-finite value.

    Args:
        norm_factor: A gradient norm above this multiple of the median is unhealthy.
        loss_factor: A loss above this multiple of the median magnitude is unhealthy.
        window: Number of healthy steps that the medians cover.
        minimum: With fewer healthy steps only finiteness is checked.

    Attributes:
        healthy: Number of healthy steps so far.

    Example:
        >>> baseline = Baseline()
        >>> all(baseline.assess(loss=1.0, grad_norm=10.0) for _ in range(8))
        True
        >>> baseline.assess(loss=1.0, grad_norm=1000.0)
        False
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

    def assess(self, loss: float, grad_norm: float) -> bool:
        """Return whether a step is healthy, and include it in the medians if it is.

        Args:
            loss: Loss of the step; may be negative, as the RLE loss of YOLO26 pose.
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
