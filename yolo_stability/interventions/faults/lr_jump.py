"""`fault=lr_jump@3`: from optimizer step N on every learning rate is 1000 times too high."""

from __future__ import annotations

from yolo_stability.interventions.faults._schedule import ScheduleFault

__all__ = ["LearningRateJump"]

_FACTOR = 1000.0


class LearningRateJump(ScheduleFault):
    """Simulates a wrong digit in the schedule."""

    def factor(self, steps: int) -> float:
        """Return the same factor for all steps."""
        return _FACTOR
