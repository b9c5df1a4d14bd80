"""MLflow sink: metrics of every step; enable it with `yolo settings mlflow=True`."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from typing import Any

from yolo_stability.trainer.loggers._tracker import Note, Point, TrackerSink, enabled, integration

__all__ = ["MlflowSink"]

_BATCH = 1000  # metrics that MLflow accepts in one call
_TAG = 500  # characters of a tag that every backend store accepts
_BAD = re.compile(r"[^\w. /:-]", re.ASCII)  # characters that MLflow rejects in a name


class MlflowSink(TrackerSink):
    """Logs by run ID, because MLflow's active run is known only in the thread that started it."""

    title = "MLflow"
    after_end = True

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []

    def find(self) -> Any:
        """Return the ID of the active run."""
        if not enabled("mlflow") or getattr(integration("mlflow"), "mlflow", None) is None:
            return None
        active = sys.modules["mlflow"].active_run()
        return active.info.run_id if active else None

    def send(self, run: Any, points: Sequence[Point], notes: Sequence[Note]) -> None:
        """Log metrics in batches, findings as tags, and all events in `stability/events.txt`."""
        mlflow: Any = sys.modules["mlflow"]
        client, now = mlflow.MlflowClient(), int(1000 * time.time())
        metrics = [
            mlflow.entities.Metric(_BAD.sub("_", name), value, now, point.step)
            for point in points
            for name, value in point.values.items()
        ]
        for start in range(0, len(metrics), _BATCH):
            client.log_batch(run, metrics=metrics[start : start + _BATCH])
        for note in notes:
            self._lines.append(f"step {note.step}: {note.text}")
            if note.rule:
                client.set_tag(run, f"stability.{note.rule}", self._lines[-1][:_TAG])
        if notes:
            client.log_text(run, "\n".join([*self._lines, ""]), "stability/events.txt")
