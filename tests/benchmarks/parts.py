"""Where the time of a step is spent: CPU time of this thread, each moment counted for one part only.

Other programs disturb CPU time far less than the time of day. What they do to forward and backward they do to stock as
well; the parts of the package are clocked by themselves, so that a millisecond of theirs is not sought in the noise of
two hundred others.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

from yolo_stability.gradients.updates import UpdateSampling
from yolo_stability.guard.guard import Guard
from yolo_stability.guard.incidents.capture import IncidentKeeper
from yolo_stability.trainer.live_findings import LiveFindings
from yolo_stability.trainer.step import records
from yolo_stability.trainer.step.recovery import Recovery

SHARED = "shared"
"""What stock does as well: forward, backward, optimizer, EMA."""
SEAM = "seam"
"""Callbacks, preprocessing and `optimizer_step`, but for what is shared or a part of its own."""
COLLECTOR = "collector"
"""Garbage collection of what a step leaves behind."""

PARTS: dict[str, tuple[tuple[Any, tuple[str, ...]], ...]] = {
    "guard": (
        (Guard, ("before_window", "largest_buffer", "accept", "screen_losses")),
        (Recovery, ("applied",)),
    ),
    "incidents": ((IncidentKeeper, ("keep", "note_loss", "largest_buffer", "evidence")),),
    "record": ((records.RecordKeeper, ("applied", "complete")),),
    "updates": (
        (UpdateSampling, ("before_update", "after_update")),
        (records, ("with_update_ratios",)),
    ),
    "rules": ((LiveFindings, ("observe", "event")),),
}
"""Functions of the package by the part that they belong to; what they call of another part counts there."""


class PartClock:
    """Counts CPU seconds of the calling thread by part.

    Attributes:
        spent: Seconds by part since the last start.
        calls: How often the clock has been handed over since then.
    """

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)
        self.calls = 0
        self._open = [SHARED]
        self._last = 0.0

    def start(self) -> None:
        """Begin a step."""
        self.spent.clear()
        self.calls, self._open = 0, [SHARED]
        self._last = time.thread_time()

    def stop(self) -> dict[str, float]:
        """End the step; return milliseconds by part."""
        self._count()
        return {part: seconds * 1000 for part, seconds in self.spent.items()}

    def call(self, part: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function on the clock of a part and return what it returns."""
        self._count()
        self._open.append(part)
        self.calls += 1
        try:
            return function(*args, **kwargs)
        finally:
            self._count()
            self._open.pop()

    def around(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, each of its calls on the clock of a part."""

        @wraps(function)
        def clocked(*args: Any, **kwargs: Any) -> Any:
            return self.call(part, function, *args, **kwargs)

        return clocked

    def cost(self, calls: int = 2000) -> float:
        """Return what a handover of the clock itself takes, in milliseconds."""
        nothing = self.around(SEAM, lambda: None)
        start = time.thread_time()
        for _ in range(calls):
            nothing()
        return (time.thread_time() - start) / calls * 1000

    def _count(self) -> None:
        """Count the time since the last handover for the part that was open."""
        now = time.thread_time()
        self.spent[self._open[-1]] += now - self._last
        self._last = now


@contextmanager
def clocked_parts(clock: PartClock) -> Iterator[None]:
    """Put every part of the package on the clock inside the context."""
    with ExitStack() as stack:
        for part, owners in PARTS.items():
            for owner, names in owners:
                for name in names:
                    clocked = clock.around(part, getattr(owner, name))
                    stack.enter_context(patch.object(owner, name, clocked))
        yield
