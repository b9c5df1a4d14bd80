"""TensorBoard sink: metrics of every step; enable it with `yolo settings tensorboard=True`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yolo_stability.trainer.loggers._tracker import Note, Point, TrackerSink, integration

__all__ = ["TensorboardSink"]


class TensorboardSink(TrackerSink):
    """Adds scalars and texts to Ultralytics' `SummaryWriter`, with the optimizer step as x axis."""

    title = "TensorBoard"

    def find(self) -> Any:
        """Return the open writer."""
        return getattr(integration("tensorboard"), "WRITER", None)

    def send(self, run: Any, points: Sequence[Point], notes: Sequence[Note]) -> None:
        """Add scalars one by one, because `add_scalars` would open a writer and a run per name."""
        for point in points:
            for name, value in point.values.items():
                run.add_scalar(name, value, point.step)
        for note in notes:
            run.add_text("stability/events", note.text, note.step)
        run.flush()
