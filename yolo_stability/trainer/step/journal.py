"""Counters and events of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from yolo_stability.core.types import EndReason, Event

__all__ = ["Journal"]


class Journal:
    """Counts the steps of a run and emits its events.

    Args:
        receive: Receives each event.
        attempt: Initial attempt.
        step: Initial optimizer step.
        iteration: Initial iteration.

    Attributes:
        attempt: Current attempt.
        step: Next optimizer step.
        iteration: Current iteration.
        stopped: Reason why the run was ended early, one sentence; None otherwise.
        stopped_by: What ended it: the guard, `fail_on` or a rescue; None otherwise.
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
        self.stopped_by: EndReason | None = None
        self._receive = receive

    def emit(self, kind: str, block: str | None, data: dict[str, Any]) -> None:
        """Emit an event at the current step."""
        self._receive(
            Event(attempt=self.attempt, step=self.step, kind=kind, block=block, data=data)
        )

    def notice(self, text: str) -> None:
        """Emit a notice for console and trace."""
        self.emit("notice", None, {"text": text})
