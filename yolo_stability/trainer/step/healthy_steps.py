"""Which steps of a run were healthy: by its own baseline, by its skips, and by the doubts of a policy."""

from __future__ import annotations

from yolo_stability.guard.baseline import Baseline

__all__ = ["Health"]

_DOUBT = 8  # steps between two looks of the rules


class Health:
    """Remembers the last step that was not healthy.

    Attributes:
        doubtful_step: Last step after which a policy does not trust a state; -1 if none.
    """

    def __init__(self) -> None:
        self.doubtful_step = self._unhealthy = self._unresolved_skip = -1
        self._baseline = Baseline()

    @property
    def unhealthy_step(self) -> int:
        """Last step that was unhealthy, or that was skipped and no healthy one has followed yet; -1 if none.

        A skipped step leaves the weights alone: the next healthy step proves that the batch was to blame.
        """
        return max(self._unhealthy, self._unresolved_skip)

    @property
    def healthy_steps(self) -> int:
        """Healthy steps since the start or the last rescue."""
        return self._baseline.healthy

    def applied(self, step: int, loss: float, grad_norm: float) -> bool:
        """Take note of a step that was applied; return whether it was within the run's own baseline.

        Args:
            step: The optimizer step.
            loss: Its loss.
            grad_norm: Total gradient norm before clipping.
        """
        healthy = self._baseline.assess(loss, grad_norm)
        if healthy:
            self._unresolved_skip = -1
        else:
            self._unhealthy = step
        return healthy

    def trusts(self, step: int) -> bool:
        """Return whether no policy doubts the state after a step."""
        return self.doubtful_step < 0 or step > self.doubtful_step + _DOUBT

    def skipped(self, step: int) -> None:
        """Take note of a step that was skipped."""
        self._unresolved_skip = step

    def rolled_back(self, step: int) -> None:
        """Take note that the steps before this one were undone."""
        self._unhealthy = step

    def forget(self) -> None:
        """Learn anew what is healthy."""
        self._baseline = Baseline()
