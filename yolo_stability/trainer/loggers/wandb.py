"""W&B sink: metrics of every step, also offline; enable it with `yolo settings wandb=True`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from yolo_stability.trainer.loggers._tracker import Note, Point, TrackerSink, enabled, integration

__all__ = ["WandbSink"]

_STEP = "stability/step"


class WandbSink(TrackerSink):
    """Logs separate rows with `stability/step` as x axis, without affecting Ultralytics' epochs.

    W&B increments its own step with every row. Some Ultralytics versions set that step explicitly
    (8.4.150 still does), and W&B rejects rows with an earlier step; for these, all metrics go to
    the open row, one per epoch.
    """

    title = "W&B"

    def __init__(self) -> None:
        super().__init__()
        self._defined: str | None = None

    def find(self) -> Any:
        """Return the open run."""
        if not enabled("wandb") or getattr(integration("wb"), "wb", None) is None:
            return None
        return getattr(sys.modules.get("wandb"), "run", None)

    def send(self, run: Any, points: Sequence[Point], notes: Sequence[Note]) -> None:
        """Log one row per step and per event; serious events also raise a W&B alert."""
        if self._defined != run.id:
            run.define_metric(_STEP, hidden=True)
            run.define_metric("stability/*", step_metric=_STEP)
            self._defined = run.id
        rows = _epochs_have_an_axis()
        for point in points:
            run.log({**point.values, _STEP: point.step}, commit=rows)
        for note in notes:
            run.log({"stability/event": note.text, _STEP: note.step}, commit=rows)
            if note.serious:
                run.alert(
                    title="Training stability", text=f"step {note.step}: {note.text}", level="WARN"
                )


def _epochs_have_an_axis() -> bool:
    """Return whether Ultralytics uses `epoch` as x axis instead of W&B's own step."""
    begin = getattr(integration("wb"), "on_pretrain_routine_end", None)
    return "define_metric" in getattr(getattr(begin, "__code__", None), "co_names", ())
