"""The epochs of a run: one JSON line each in `epochs.jsonl`, or the rows of `results.csv`."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo_stability.core.types import EpochRecord, RunHeader
from yolo_stability.trace.layout import EPOCHS
from yolo_stability.trace.serialize import strict_json

if TYPE_CHECKING:
    import polars as pl

__all__ = ["MEASURED", "as_epochs", "empty_epochs", "epoch_line", "epoch_row", "read_epochs"]

RESULTS = "results.csv"
MEASURED = ("val/", "metrics/")
"""Prefixes of the columns that a validation fills."""
_LIMITS = {"attempt": 2**16 - 1, "epoch": 2**16 - 1, "steps": 2**32 - 1, "images": 2**32 - 1}
_LEADING = {"attempt": "UInt16", "epoch": "UInt16", "steps": "UInt32", "images": "UInt32"}
_TRAILING = {"fitness": "Float32", "seconds": "Float32", "validated": "Boolean"}

Row = dict[str, Any]


def epoch_line(record: EpochRecord) -> bytes:
    """Return the line of `epochs.jsonl` for an epoch, including its newline."""
    return (json.dumps(strict_json(record), allow_nan=False) + "\n").encode()


def epoch_row(line: bytes) -> Row | None:
    """Read one line of `epochs.jsonl`.

    Returns:
        The columns of `trace.epochs`; None for an incomplete or invalid line.
    """
    try:
        data = json.loads(line)
        row: Row = {name: _whole(data[name], limit) for name, limit in _LIMITS.items()}
        if row["attempt"] is None or row["epoch"] is None:
            return None
        for prefix in MEASURED:
            values = data[prefix.removesuffix("/")]
            row |= {f"{prefix}{name}": _number(value) for name, value in values.items()}
        row |= {name: _number(data[name]) for name in ("fitness", "seconds")}
        return {**row, "validated": data["validated"] is True}
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None


def read_epochs(folder: Path, header: RunHeader) -> pl.DataFrame | None:
    """Return the epochs of a run, unique by (attempt, epoch).

    Args:
        folder: The `stability/` folder.
        header: Header of the run.

    Returns:
        The epochs of `epochs.jsonl`; without that file those of Ultralytics' `results.csv` beside
        the folder; None if a trace of version 1 has neither.
    """
    rows = _recorded(folder / EPOCHS)
    if not rows and "task" in header.effective:  # Ultralytics writes no table for a custom loop
        rows = _from_results(folder.parent / RESULTS, header.requested.get("val") is not False)
    if not rows and header.schema_version < 2:
        return None
    return _frame({(row["attempt"], row["epoch"]): row for row in rows}.values())


def empty_epochs() -> pl.DataFrame:
    """Return the table of epochs with its fixed columns and no rows."""
    return _frame(())


def as_epochs(frame: pl.DataFrame | None) -> list[EpochRecord]:
    """Return a table of epochs as records; a missing cell is no entry."""
    plain = (*_LEADING, *_TRAILING)
    return [
        EpochRecord(
            **{name: row[name] for name in plain},
            val=_part(row, MEASURED[0]),
            metrics=_part(row, MEASURED[1]),
        )
        for row in (() if frame is None else frame.iter_rows(named=True))
    ]


def _part(row: Row, prefix: str) -> dict[str, float]:
    return {
        name.removeprefix(prefix): value
        for name, value in row.items()
        if name.startswith(prefix) and value is not None
    }


def _recorded(file: Path) -> list[Row]:
    try:
        lines = file.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    return [row for line in lines if (row := epoch_row(line))]


def _frame(rows: Iterable[Row]) -> pl.DataFrame:
    """Return rows as a table, ordered by attempt and epoch; a missing cell is null."""
    import polars as pl

    rows = sorted(rows, key=lambda row: (row["attempt"], row["epoch"]))
    names = dict.fromkeys(name for row in rows for name in row)
    measured = [name for prefix in MEASURED for name in names if name.startswith(prefix)]
    kinds = {**_LEADING, **dict.fromkeys(measured, "Float32"), **_TRAILING}
    return pl.DataFrame(
        [
            pl.Series(name, [row.get(name) for row in rows], dtype=getattr(pl, kind))
            for name, kind in kinds.items()
        ]
    )


# --- results.csv ----------------------------------------------------------------------------------


def _from_results(file: Path, validates: bool) -> list[Row]:
    """Return the rows of `results.csv` as epochs.

    Ultralytics repeats the last validation, or zeros before the first, in epochs without one.

    Args:
        file: The table.
        validates: Whether the run validates after every epoch.
    """
    found: list[Row] = []
    before: Mapping[str, float] = {}
    for cells in _cells(file):
        epoch = cells.get("epoch", math.nan)
        if not (math.isfinite(epoch) and 1 <= epoch <= _LIMITS["epoch"]):
            continue
        values = {name: value for name, value in cells.items() if name.startswith(MEASURED)}
        old = bool(values) and _same(values, before)
        idle = not validates and not any(values.values())
        validated = bool(values) and not (old or idle)
        found.append(
            {
                "attempt": 0,
                "epoch": int(epoch) - 1,
                "steps": None,
                "images": None,
                **(values if validated else dict.fromkeys(values)),
                "fitness": None,
                "seconds": cells.get("time"),
                "validated": validated,
            }
        )
        before = values
    return _with_durations(found)


def _cells(file: Path) -> list[dict[str, float]]:
    """Return the numbers of each row by column; cells that a kill truncated are absent."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            rows = list(csv.DictReader(text))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []
    return [
        {
            str(name).strip(): number
            for name, cell in row.items()
            if isinstance(cell, str) and (number := _number(cell.strip())) is not None
        }
        for row in rows
    ]


def _same(values: Mapping[str, float], before: Mapping[str, float]) -> bool:
    """Return whether two rows are equal, NaN to NaN."""
    return values.keys() == before.keys() and repr(list(values.values())) == repr(
        list(before.values())
    )


def _with_durations(rows: list[Row]) -> list[Row]:
    """Replace times since the start of a session by the duration of each epoch."""
    times = [row["seconds"] for row in rows]
    for row, now, before in zip(rows, times, [None, *times], strict=False):
        if now is not None and before is not None and before < now:
            row["seconds"] = now - before
    return rows


def _whole(value: Any, limit: int) -> int | None:
    """Return a whole number in the range of its column; None for a null.

    Raises:
        ValueError: It is out of range.
    """
    if value is None:
        return None
    number = int(value)
    if not 0 <= number <= limit:
        raise ValueError(f"{number} is out of range")
    return number


def _number(value: Any) -> float | None:
    """Return a number, or the number that strict JSON or CSV spells as text; None for others."""
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
