"""Everything that acts inside an Ultralytics trainer."""

from __future__ import annotations

from typing import Any

from yolo_stability.trainer.hooks import CONSTRUCTION


def _attach(trainer: Any) -> None:
    """Attach a monitor to a trainer that was rebuilt in a worker process.

    A worker before Ultralytics 8.4.150 imports nothing but the trainer's class, so the package itself brings the
    monitor; lazily, for the names of loggers are also read where nothing trains.
    """
    from yolo_stability.trainer.base_monitor import attach_in_worker

    attach_in_worker(trainer)


CONSTRUCTION.subscribe(_attach)
