"""`fault=lr_creep@3`: from optimizer step N on every learning rate grows by a quarter a step over what is planned."""

from __future__ import annotations

from yolo_stability.interventions.faults._schedule import ScheduleFault

__all__ = ["LearningRateCreep"]

_GROWTH = 1.25
_MOST = 1e30  # a rate must not itself become infinite


class LearningRateCreep(ScheduleFault):
    """A schedule that grows instead of falling: nothing leaps, and yet the run is lost in the end."""

    def factor(self, steps: int) -> float:
        """Return a factor that has grown once more with each step."""
        return float(min(_GROWTH ** min(steps + 1, 400), _MOST))
