"""Reading of `events.jsonl`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo_stability.trace.layout import EVENTS
from yolo_stability.trace.serialize import event_row

if TYPE_CHECKING:
    import polars as pl

__all__ = ["event_rows", "events_frame"]


def event_rows(folder: Path) -> list[dict[str, Any]]:
    """Return the valid events of a `stability/` folder, in the order written."""
    try:
        lines = (folder / EVENTS).read_bytes().splitlines()
    except FileNotFoundError:
        lines = []
    return [row for line in lines if (row := event_row(line))]


def events_frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Return events as `trace.events`."""
    import polars as pl

    schema = {
        "attempt": pl.UInt16,
        "step": pl.UInt32,
        "kind": pl.String,
        "block": pl.String,
        "data": pl.String,
    }
    return pl.DataFrame(rows, schema=schema)
