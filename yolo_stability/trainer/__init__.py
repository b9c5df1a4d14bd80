"""Integration with Ultralytics trainers: monitor, guarded step, rescue and logging."""

from __future__ import annotations

from typing import Any

from yolo_stability.trainer.hooks import CONSTRUCTION


def _attach(trainer: Any) -> None:
    """Attach a monitor to a trainer that was rebuilt in a worker process.

    Before Ultralytics 8.4.150 a worker imports only the trainer's class, so this package has to
    attach the monitor. The import is lazy because the registry of sinks is also read by processes
    that never train.
    """
    from yolo_stability.trainer.base_monitor import attach_in_worker

    attach_in_worker(trainer)


CONSTRUCTION.subscribe(_attach)
