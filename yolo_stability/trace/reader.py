"""Reading of traces, also while another process writes them or after it was killed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from yolo_stability.core.errors import TraceError
from yolo_stability.core.types import RunHeader, Trace
from yolo_stability.trace.epochs import empty_epochs, read_epochs
from yolo_stability.trace.events import event_rows, events_frame
from yolo_stability.trace.layout import (
    HEADER,
    Part,
    TableName,
    list_parts,
    without_overlaps,
)
from yolo_stability.trace.locate import error_line, find_trace
from yolo_stability.trace.serialize import header_from_json

if TYPE_CHECKING:
    import polars as pl

__all__ = ["ResumePoint", "empty_trace", "load_trace", "read_header", "resume_point", "scan_trace"]

_LOG = logging.getLogger(__name__)
_RETRIES = 20
_RETRY_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumePoint:
    """End of a trace; a resumed run continues with the next attempt, step and iteration.

    Attributes:
        attempt: Attempt of the last row.
        step: Optimizer step of the last row.
        iteration: Iteration of the last row.
    """

    attempt: int
    step: int
    iteration: int


def load_trace(path: str | Path) -> Trace:
    """Read the telemetry of a run.

    Args:
        path: A run folder or its `stability/` folder; the run may still be in progress or killed.

    Returns:
        Header, steps, blocks, events and epochs; tables without rows have their columns.
        `blocks["block"]` is an Enum in the order of the header. Rows are ordered and unique by
        (attempt, step[, block]).

    Raises:
        TraceError: There is no trace, its header is damaged, or a newer version wrote it.

    Example:
        >>> import tempfile, torch
        >>> from yolo_stability import record
        >>> model = torch.nn.Linear(2, 1)
        >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with tempfile.TemporaryDirectory() as out:
        ...     with record(model, sgd, out, plots=False) as recorder:
        ...         model(torch.ones(3, 2)).mean().backward()
        ...         recorder.step()
        ...         sgd.step()
        ...     load_trace(out).steps.select("step", "epoch").rows()
        [(0, 0)]
    """
    import polars as pl

    folder = find_trace(path)
    header = read_header(folder)
    try:
        steps = _read_table(folder, "steps", header)
        last = -1 if steps.is_empty() else int(steps["step"].max())  # type: ignore[arg-type]
        # blocks are written before their steps
        blocks = _read_table(folder, "blocks", header, upto=last)
        if not blocks.is_empty() and int(blocks["step"].max()) > last:  # type: ignore[arg-type]
            # their steps are lost or not written yet
            blocks = blocks.filter(pl.col("step") <= last)
        return Trace(
            path=folder,
            header=header,
            steps=steps,
            blocks=blocks,
            events=events_frame(event_rows(folder)),
            epochs=read_epochs(folder, header),
        )
    except (Exception, pl.exceptions.PanicException) as e:
        # polars raises exceptions of many types on damaged bytes
        raise TraceError(f"The trace in '{folder}' cannot be read: {error_line(e)}.") from e


def scan_trace(path: str | Path, table: TableName) -> pl.LazyFrame:
    """Open one table lazily, for queries on few columns of a long run.

    Args:
        path: Run folder, or `stability/` folder, of a finished run.
        table: `steps` or `blocks`.

    Returns:
        The parts in the order of their steps; select columns, then collect. Files that are not
        Parquet are skipped; other damage makes `collect` raise an error of polars.

    Raises:
        TraceError: As `load_trace`.
    """
    import polars as pl

    folder = find_trace(path)
    header = read_header(folder)
    try:
        return _scan(folder, table, header)
    except (Exception, pl.exceptions.PanicException) as e:
        raise TraceError(f"The trace in '{folder}' cannot be read: {error_line(e)}.") from e


def _scan(folder: Path, table: TableName, header: RunHeader) -> pl.LazyFrame:
    """Open the parts of a table as one, with the columns of the contract."""
    import polars as pl

    from yolo_stability.trace.schema import column_order, conform, empty

    names, version = [b.name for b in header.blocks], header.schema_version
    parts = list(_scan_parts(without_overlaps(list_parts(folder, table))))
    if table == "blocks":
        orders = [p.collect_schema().get("block") for p in parts]
        names += [
            n for o in orders if isinstance(o, pl.Enum) for n in o.categories if n not in names
        ]
        order = pl.Enum(list(dict.fromkeys(names)))
        parts = [
            p if o == order else p.with_columns(pl.col("block").cast(pl.String).cast(order))
            for p, o in zip(parts, orders, strict=True)
        ]
    fixed = conform(empty(table, version), table, names, version).lazy()
    frame = pl.concat([fixed, *parts], how="diagonal_relaxed")
    return frame.select(column_order(frame.collect_schema().names(), table, version))


def _scan_parts(parts: Sequence[Part]) -> Iterator[pl.LazyFrame]:
    """Open each part with a readable footer."""
    import polars as pl

    for part in parts:
        try:
            scanned = pl.scan_parquet(part.path)
            scanned.collect_schema()
        except (Exception, pl.exceptions.PanicException) as e:
            _LOG.warning("%s is damaged and skipped: %s", part.path, error_line(e))
        else:
            yield scanned


def empty_trace(folder: Path, header: RunHeader) -> Trace:
    """Return the empty trace of a run whose telemetry could not start.

    Args:
        folder: The `stability/` folder.
        header: Description of the run.
    """
    from yolo_stability.trace.schema import empty

    return Trace(
        path=folder,
        header=header,
        steps=empty("steps", header.schema_version),
        blocks=empty("blocks"),
        events=events_frame([]),
        epochs=empty_epochs() if header.schema_version > 1 else None,
    )


def resume_point(folder: str | Path) -> ResumePoint | None:
    """Return the end of the trace in a `stability/` folder.

    Returns:
        None without a trace. A trace killed before its first row ends at step -1.

    Raises:
        TraceError: The folder cannot be read.
    """
    folder = Path(folder)
    try:
        return _resume_point(folder) if (folder / HEADER).is_file() else None
    except OSError as e:
        raise TraceError(f"The trace in '{folder}' cannot be read: {error_line(e)}.") from e


def _resume_point(folder: Path) -> ResumePoint:
    import polars as pl

    from yolo_stability.trace.schema import read_parquet

    attempt = max((row["attempt"] for row in event_rows(folder)), default=0)
    for part in reversed(without_overlaps(list_parts(folder, "steps"))):
        try:
            rows = (
                read_parquet(part.path, ["attempt", "step", "iteration"])
                .drop_nulls()
                .sort("step")
                .tail(1)
                .rows()
            )
            if rows:
                last, step, iteration = (int(value) for value in rows[0])
                return ResumePoint(attempt=max(attempt, last), step=step, iteration=iteration)
        except (Exception, pl.exceptions.PanicException) as e:
            # a damaged part; the previous one may be intact
            _LOG.warning("%s cannot be read (%s)", part.path, error_line(e))
    return ResumePoint(attempt=attempt, step=-1, iteration=-1)


def read_header(folder: Path) -> RunHeader:
    """Read `header.json` of a `stability/` folder.

    Raises:
        TraceError: It is missing or damaged.
    """
    file = folder / HEADER
    try:
        return header_from_json(file.read_bytes(), f"'{file}'")
    except OSError as e:
        raise TraceError(f"'{file}' cannot be read: {e.strerror}.") from e


def _read_table(folder: Path, table: TableName, header: RunHeader, upto: int = -1) -> pl.DataFrame:
    """Read a consistent set of parts, retrying when a merge moved rows between files.

    Args:
        folder: The `stability/` folder.
        table: Table to read.
        header: Header of the run.
        upto: Step that must be included; a listing taken during a merge can miss both the merged
            part and its pieces.
    """
    damaged: set[Part] = set()
    for _ in range(_RETRIES):
        parts, frames, gone = _read_parts(list_parts(folder, table), damaged)
        now = [p for p in without_overlaps(list_parts(folder, table)) if p not in damaged]
        last = parts[-1].last if parts else -1
        if (
            not gone
            and (last >= upto or damaged)
            and set(parts) <= set(now)
            and all(p.first > last for p in now if p not in parts)
        ):
            break
        time.sleep(_RETRY_SECONDS)
    return _join(frames, table, header)


def _read_parts(
    parts: Sequence[Part], damaged: set[Part]
) -> tuple[list[Part], list[pl.DataFrame], set[Part]]:
    """Read the current parts; a deleted or damaged one is replaced by the pieces it covered.

    Args:
        parts: Listed parts.
        damaged: Known damaged parts; extended by those found.

    Returns:
        The parts read, their rows, and the parts deleted between listing and reading.
    """
    import polars as pl

    from yolo_stability.trace.schema import read_parquet

    frames: dict[Part, pl.DataFrame] = {}
    gone: set[Part] = set()
    while True:
        chosen = without_overlaps(p for p in parts if p not in damaged and p not in gone)
        part = next((p for p in chosen if p not in frames), None)
        if part is None:
            return chosen, [frames[p] for p in chosen], gone
        try:
            frame = read_parquet(part.path)
            if not {"attempt", "step"} <= set(frame.columns):
                raise ValueError("the columns attempt and step are missing")
            frames[part] = frame
        except FileNotFoundError:
            gone.add(part)
        except (Exception, pl.exceptions.PanicException) as e:
            _LOG.warning("%s is damaged and skipped: %s", part.path, error_line(e))
            damaged.add(part)


def _join(parts: Sequence[pl.DataFrame], table: TableName, header: RunHeader) -> pl.DataFrame:
    """Concatenate parts, ordered and unique by key; sorts only if they are not already."""
    import polars as pl

    from yolo_stability.trace.schema import concat, conform

    keys = ["attempt", "step"] if table == "steps" else ["attempt", "step", "block"]
    names, version = [b.name for b in header.blocks], header.schema_version
    parts = [conform(part, table, names, version) for part in parts]
    ends = [
        part.select(keys[:2])[[0, -1] if part.height > 1 else [0]] for part in parts if part.height
    ]
    frame = concat(parts, table, names, version)
    if all(_rises(part, keys) for part in parts) and (
        not ends or _rises(pl.concat(ends), keys[:2])
    ):
        return frame
    return frame.drop_nulls(keys).unique(keys, keep="first", maintain_order=True).sort(keys)


def _rises(frame: pl.DataFrame, keys: Sequence[str]) -> bool:
    """Return whether each row's key is greater than the previous one."""
    import polars as pl

    if any(frame[k].null_count() for k in keys):
        return False
    key = pl.col(keys[0]).cast(pl.Int64) * 2**32 + pl.col(keys[1]).cast(pl.Int64)
    ahead = key.diff() > 0
    if len(keys) == 3:
        ahead = ahead | (
            (key.diff() == 0) & (pl.col("block").to_physical().cast(pl.Int64).diff() > 0)
        )
    return bool(frame.select(ahead.fill_null(True).all()).item())
