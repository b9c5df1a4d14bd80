"""Where a run is, and what happens there: its counters and its events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from yolo_stability.core.types import Event

__all__ = ["Journal"]


class Journal:
    """Counts the steps of a run and hands over its events.

    Args:
        receive: Takes each event.
        attempt: Attempt to start with.
        step: Optimizer step to count on from.
        iteration: Iteration to count on from.

    Attributes:
        attempt: The present attempt.
        step: The optimizer step that comes next.
        iteration: The present iteration.
        stopped: Why the run was ended; None while it was not.
    """

    def __init__(
        self,
        receive: Callable[[Event], None],
        *,
        attempt: int = 0,
        step: int = 0,
        iteration: int = 0,
    ) -> None:
        self.attempt, self.step, self.iteration = attempt, step, iteration
        self.stopped: str | None = None
        self._receive = receive

    def emit(self, kind: str, block: str | None, data: dict[str, Any]) -> None:
        """Hand over an event of the current step."""
        self._receive(
            Event(attempt=self.attempt, step=self.step, kind=kind, block=block, data=data)
        )

    def notice(self, text: str) -> None:
        """Say something once, in console and trace."""
        self.emit("notice", None, {"text": text})
