"""Detection of runs that ended with finite weights but failed; standard library only."""

from __future__ import annotations

from collections import deque
from statistics import median

__all__ = ["Outcome"]

_LAST = 5
_BLOWN_UP = 10.0
_FALLEN = 1e-3


class Outcome:
    """Follows the loss of a run from its first to its last step.

    A run without NaN is not necessarily healthy: under a huge learning rate detection mostly ends
    with a loss and gradients of exactly 0, and clipping can keep weights finite while the loss
    diverges.

    Example:
        >>> outcome = Outcome()
        >>> for step, loss in enumerate([10.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0]):
        ...     outcome.observe(step, loss, grad_norm=loss, clip_coef=1.0)
        >>> outcome.failure()
        'loss and gradients are exactly 0 since step 2: the run has failed without any NaN'
    """

    def __init__(self) -> None:
        self._first: float | None = None
        self._last: deque[float] = deque(maxlen=_LAST)
        self._largest = 0.0
        self._zero_since: int | None = None
        self._clipped = False

    def observe(self, step: int, loss: float, grad_norm: float, clip_coef: float | None) -> None:
        """Process a step that was applied.

        Args:
            step: The optimizer step.
            loss: Its loss.
            grad_norm: Total gradient norm before clipping.
            clip_coef: Clip coefficient; None if the package did not clip.
        """
        self._first = abs(loss) if self._first is None else self._first
        self._last.append(loss)
        self._largest = max(self._largest, loss)
        self._clipped = self._clipped or (clip_coef is not None and clip_coef < 1)
        if loss != 0 or grad_norm != 0:
            self._zero_since = None
        elif self._zero_since is None:
            self._zero_since = step

    def failure(self) -> str | None:
        """Describe in one sentence how the run failed; None if there is no sign of failure."""
        if self._first is None or len(self._last) < _LAST:
            return None
        excuse = (
            "clipping prevented NaN, not failure"
            if self._clipped
            else "the run has failed without any NaN"
        )
        if self._zero_since is not None and not any(self._last):
            return f"loss and gradients are exactly 0 since step {self._zero_since}: {excuse}"
        first, last = self._first, median(self._last)
        if first > 0 and last > _BLOWN_UP * first:
            factor = f"{last / first:.3g} times that of the first step"
            return f"the loss ended at {last:.3g}, {factor}: {excuse}"
        if self._largest > _BLOWN_UP * first and abs(last) < _FALLEN * first:
            return (
                f"after a blow-up to {self._largest:.3g} the loss collapsed to {last:.3g}: {excuse}"
            )
        return None
