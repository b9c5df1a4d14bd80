"""One training as its console log shows it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from yolo_stability.core.findings import RunException

__all__ = ["GAVE_UP", "ConsoleRun", "RestartedEpoch"]

GAVE_UP = "gave up"
"""Reason of the last entry of `recoveries` in a run that was given up: no restart followed."""
_MOST_RECOVERIES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartedEpoch:
    """A restart of an epoch from `last.pt`, after NaN or Inf.

    Attributes:
        epoch: The epoch, counted from 1; None where the log does not show it.
        reason: What Ultralytics saw, such as `Loss NaN/Inf`.
        columns: Training losses that were not finite.
    """

    epoch: int | None
    reason: str
    columns: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class ConsoleRun:
    """One training in a log.

    Attributes:
        settings: Settings that were logged.
        save_dir: Folder of the run, as logged.
        started: Whether its loop was reached.
        yolov5: Whether YOLOv5 wrote the log, which counts epochs from 0.
        planned: Epochs planned.
        epoch: Last epoch that began, counted from 1; None before the first.
        rows: Cells of each epoch that was completed, by epoch.
        seen: Cells of the epoch in progress.
        resumed_at: First epoch after a resume.
        recoveries: Restarts from `last.pt`.
        unrecovered: First epoch, if its loss was not finite; there is nothing to restart from then.
        batches: Batch size that did not fit in memory, and the one that was taken instead.
        patience: Epochs without improvement after which early stopping ended it.
        best_epoch: Epoch of the best results at that time.
        completed: Epochs completed, as logged at the end of the loop.
        killed: What killed the process: a signal, `memory` or `its time limit`.
        interrupted: Whether Ctrl-C was typed.
        exception: Exception that ended it.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    save_dir: str | None = None
    started: bool = False
    yolov5: bool = False
    planned: int | None = None
    epoch: int | None = None
    rows: dict[int, dict[str, str]] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)
    resumed_at: int | None = None
    recoveries: list[RestartedEpoch] = field(default_factory=list)
    unrecovered: int | None = None
    batches: tuple[int, ...] = ()
    patience: int | None = None
    best_epoch: int | None = None
    completed: int | None = None
    killed: str | None = None
    interrupted: bool = False
    exception: RunException | None = None

    @property
    def begun(self) -> bool:
        """Whether the log shows more of it than its settings."""
        return self.started or self.epoch is not None or self.completed is not None

    @property
    def done(self) -> int:
        """Epochs completed, counting those before a resume."""
        return max(self.rows, default=max((self.resumed_at or 1) - 1, 0))

    @property
    def persisted(self) -> bool:
        """Whether it was given up because of NaN or Inf."""
        raised = self.exception
        if raised is None:
            return False
        signs = ("NaN persisted", "NaN/Inf", "collapse persisted", "returned nan values")
        return any(sign in raised.message for sign in signs)

    def recover(self, reason: str, epoch: int | None) -> None:
        """Note a restart of an epoch, whose row Ultralytics does not write.

        Args:
            reason: What Ultralytics saw.
            epoch: The epoch, counted from 1.
        """
        columns = self.broken_columns(epoch)
        if epoch is not None:
            self.rows.pop(epoch, None)
        if len(self.recoveries) < _MOST_RECOVERIES:
            self.recoveries.append(RestartedEpoch(epoch=epoch, reason=reason, columns=columns))

    def broken_columns(self, epoch: int | None) -> tuple[str, ...]:
        """Return the training losses that were not finite in the last frame of an epoch."""
        cells = self.rows.get(epoch, self.seen) if epoch is not None else self.seen
        return tuple(
            name
            for name, cell in cells.items()
            if name.startswith("train/") and not math.isfinite(float(cell))
        )

    def drop(self, first: int) -> None:
        """Drop the rows from an epoch on: they are trained again."""
        self.rows = {epoch: row for epoch, row in self.rows.items() if epoch < first}

    def resume(self) -> None:
        """Forget how it ended, since it was resumed."""
        self.exception, self.killed, self.interrupted, self.completed = None, None, False, None
        self.patience, self.best_epoch, self.started, self.seen = None, None, False, {}
        self.epoch = None
