"""Telemetry of a run on disk: `TraceWriter` writes it during training, `load_trace` reads it.

The layout is `<save_dir>/stability/`: `header.json`, `events.jsonl` and `trace/` with Parquet parts
`steps-<first>-<last>.parquet` and `blocks-<first>-<last>.parquet`, which are merged during the run.
Importing this package loads neither torch nor polars.
"""

from __future__ import annotations

from yolo_stability.core.lock import lock_folder, unlock_folder
from yolo_stability.trace.layout import FOLDER, SCHEMA_VERSION
from yolo_stability.trace.locate import clear_trace, find_trace
from yolo_stability.trace.reader import (
    ResumePoint,
    empty_trace,
    load_trace,
    read_header,
    resume_point,
    scan_trace,
)
from yolo_stability.trace.writer import TraceWriter

__all__ = [
    "FOLDER",
    "SCHEMA_VERSION",
    "ResumePoint",
    "TraceWriter",
    "clear_trace",
    "empty_trace",
    "find_trace",
    "load_trace",
    "lock_folder",
    "read_header",
    "resume_point",
    "scan_trace",
    "unlock_folder",
]
