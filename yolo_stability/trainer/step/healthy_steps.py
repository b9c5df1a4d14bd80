"""Health of the steps of a run, from its own baseline, skipped steps and the policy's doubts."""

from __future__ import annotations

from yolo_stability.guard.baseline import Baseline

__all__ = ["Health"]

_DOUBT = 8  # steps between two evaluations of the rules


class Health:
    """Keeps track of the last unhealthy step.

    Attributes:
        doubtful_step: Last step after which the policy does not trust the state; -1 if none.
    """

    def __init__(self) -> None:
        self.doubtful_step = self._unhealthy = self._unresolved_skip = -1
        self._baseline = Baseline()

    @property
    def unhealthy_step(self) -> int:
        """Last unhealthy step, or last skipped step without a healthy one after it; -1 if none.

        A skipped step does not change the weights: a healthy step after it proves that the batch
        was the cause.
        """
        return max(self._unhealthy, self._unresolved_skip)

    @property
    def healthy_steps(self) -> int:
        """Number of healthy steps since the start or the latest rescue."""
        return self._baseline.healthy

    def applied(self, step: int, loss: float, grad_norm: float) -> bool:
        """Register an applied step.

        Args:
            step: The optimizer step.
            loss: Loss of the step.
            grad_norm: Total gradient norm before clipping.

        Returns:
            Whether the step was within the run's own baseline.
        """
        healthy = self._baseline.assess(loss, grad_norm)
        if healthy:
            self._unresolved_skip = -1
        else:
            self._unhealthy = step
        return healthy

    def trusts(self, step: int) -> bool:
        """Return whether the policy trusts the state after a step."""
        return self.doubtful_step < 0 or step > self.doubtful_step + _DOUBT

    def skipped(self, step: int) -> None:
        """Register a skipped step."""
        self._unresolved_skip = step

    def rolled_back(self, step: int) -> None:
        """Register that the steps before this one were undone."""
        self._unhealthy = step

    def forget(self) -> None:
        """Reset the baseline."""
        self._baseline = Baseline()
