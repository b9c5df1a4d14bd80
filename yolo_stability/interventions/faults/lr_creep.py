"""`fault=lr_creep@3`: from optimizer step N on every learning rate grows by a quarter per step."""

from __future__ import annotations

from yolo_stability.interventions.faults._schedule import ScheduleFault

__all__ = ["LearningRateCreep"]

_GROWTH = 1.25
_MOST = 1e30  # a rate must not itself become infinite


class LearningRateCreep(ScheduleFault):
    """Simulates a schedule that grows instead of decaying, without any jump."""

    def factor(self, steps: int) -> float:
        """Return a factor that grows by a quarter with each step."""
        return float(min(_GROWTH ** min(steps + 1, 400), _MOST))
