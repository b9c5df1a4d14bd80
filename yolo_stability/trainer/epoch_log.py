"""One record per epoch, once its validation is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from yolo_stability.compat.ultralytics import Trainer
from yolo_stability.core.types import EpochRecord
from yolo_stability.guard.distributed import is_distributed
from yolo_stability.trainer.step.loop import StepLoop

__all__ = ["EpochLog"]


class EpochLog:
    """Follows the epochs of one session.

    Args:
        receive: Receives each record.

    Attributes:
        done: Number of epochs completed, with those of earlier sessions.
        seconds: Training time of this session at the end of the latest epoch.
    """

    def __init__(self, receive: Callable[[EpochRecord], None]) -> None:
        self.done = 0
        self.seconds = 0.0
        self._receive = receive
        self._open = self._validated = False
        self._step = 0
        self._images: int | None = 0
        self._clock = self._start = time.monotonic()

    def begin(self, trainer: Trainer, loop: StepLoop) -> None:
        """Start an epoch, or start it again after an out-of-memory error or a recovery."""
        self.done = trainer.epoch
        self._open, self._validated = True, False
        self._step, self._images = loop.journal.step, loop.reader.window.images_seen
        self._clock = time.monotonic()

    def validated(self) -> None:
        """Register that the epoch has been validated."""
        self._validated = True

    def end(self, trainer: Trainer, loop: StepLoop, *, replayed: bool = False) -> None:
        """Record the epoch.

        Ultralytics reports one epoch more after the final validation, which is none.

        Args:
            trainer: The trainer; without a validation its metrics are those of an earlier epoch.
            loop: The step loop.
            replayed: Whether the epoch failed and will be repeated.
        """
        if not self._open:
            return
        self._open = False
        now = time.monotonic()
        self.seconds = now - self._start
        self.done = trainer.epoch + (0 if replayed else 1)
        values = _numbers(trainer.metrics) if self._validated else {}
        fitness = getattr(trainer, "fitness", None) if self._validated else None
        self._receive(
            EpochRecord(
                attempt=loop.journal.attempt,
                epoch=trainer.epoch,
                steps=loop.journal.step - self._step,
                images=self._images_since(trainer, loop),
                val={k.removeprefix("val/"): v for k, v in values.items() if k.startswith("val/")},
                metrics={
                    k.removeprefix("metrics/"): v
                    for k, v in values.items()
                    if not k.startswith("val/")
                },
                fitness=None if fitness is None else float(fitness),
                seconds=now - self._clock,
                validated=self._validated,
            )
        )

    def _images_since(self, trainer: Trainer, loop: StepLoop) -> int | None:
        """Return the images of all processes since the start of the epoch."""
        seen = loop.reader.window.images_seen
        if seen is None or self._images is None:
            return None
        return (seen - self._images) * (trainer.world_size if is_distributed(trainer) else 1)


def _numbers(metrics: Mapping[str, Any] | None) -> dict[str, float]:
    """Return the metrics that are numbers; a user's validator may return anything."""
    found = {}
    for name, value in (metrics or {}).items():
        try:
            found[str(name)] = float(value)
        except (TypeError, ValueError):
            continue
    return found
