"""Reading a trace back, also while another process writes it or after that process was killed."""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo_stability.errors import TraceError, nearest
from yolo_stability.trace.layout import EVENTS, FOLDER, HEADER, PARTS, Part, Table, list_parts, standing
from yolo_stability.trace.plain import event_row, header_from_json
from yolo_stability.types import RunHeader, Trace

if TYPE_CHECKING:
    import polars as pl

__all__ = ["ResumePoint", "clear_trace", "find_trace", "load_trace", "read_header", "resume_point", "scan_trace"]

_LOG = logging.getLogger(__name__)
_RETRIES = 20
_RETRY_SECONDS = 0.02
_OURS = (HEADER, EVENTS, "diagnosis.json", "healthy.pt", "gradient_norms.png", "report.html")
_INCIDENT = re.compile(r"step-\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumePoint:
    """Where a trace ends; a resumed run continues with the next attempt, step and iteration.

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
        path: A run folder or its `stability/` folder; the run may still be going on, or have been killed.

    Returns:
        Header, steps, blocks and events; tables without rows have their columns. `blocks["block"]` is an Enum in
        the order of the header. Rows are ordered and unique by (attempt, step[, block]).

    Raises:
        TraceError: There is no trace, its header is missing or damaged, or a newer version wrote it.
    """
    import polars as pl

    folder = find_trace(path)
    header = read_header(folder)
    names = [b.name for b in header.blocks]
    try:
        steps = _read_table(folder, "steps", names)
        last = -1 if steps.is_empty() else int(steps["step"].max())  # type: ignore[arg-type]
        blocks = _read_table(folder, "blocks", names, upto=last)  # they are written before their steps
        if not blocks.is_empty() and int(blocks["step"].max()) > last:  # type: ignore[arg-type]
            blocks = blocks.filter(pl.col("step") <= last)  # their steps are not on disk, or not yet
        return Trace(path=folder, header=header, steps=steps, blocks=blocks, events=_read_events(folder))
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as e:
        raise TraceError(f"The trace in '{folder}' cannot be read: {e}.") from e


def scan_trace(path: str | Path, table: Table) -> pl.LazyFrame:
    """Open one table without reading it, for questions about few columns of a long run.

    Args:
        path: A run folder or its `stability/` folder of a run that is over.
        table: `steps` or `blocks`.

    Returns:
        The parts in the order of their steps; select columns, then collect.

    Raises:
        TraceError: As `load_trace`.
    """
    import polars as pl

    from yolo_stability.trace.frames import column_order, empty, normalise

    folder = find_trace(path)
    names = [b.name for b in read_header(folder).blocks]
    parts = [pl.scan_parquet(part.path) for part in standing(list_parts(folder, table))]
    if table == "blocks":
        orders = [p.collect_schema().get("block") for p in parts]
        names += [n for o in orders if isinstance(o, pl.Enum) for n in o.categories if n not in names]
        order = pl.Enum(list(dict.fromkeys(names)))
        parts = [
            p if o == order else p.with_columns(pl.col("block").cast(pl.String).cast(order))
            for p, o in zip(parts, orders, strict=True)
        ]
    frame = pl.concat([normalise(empty(table), table, names).lazy(), *parts], how="diagonal_relaxed")
    return frame.select(column_order(frame.collect_schema().names(), table))


def find_trace(path: str | Path) -> Path:
    """Return the `stability/` folder that belongs to `path`.

    Args:
        path: A run folder or its `stability/` folder.

    Raises:
        TraceError: There is none; the message names runs nearby that have one.
    """
    path = Path(path).expanduser()
    for folder in (path / FOLDER, path):
        if (folder / HEADER).is_file():
            return folder
    for folder in (path / FOLDER, path):
        if (folder / PARTS).is_dir() or (folder / EVENTS).is_file() or (folder.is_dir() and folder.name == FOLDER):
            raise TraceError(
                f"'{folder}' has no {HEADER}: that run was killed while it started, or the file was removed."
                f"{_neighbours(path)} Start the run again."
            )
    what = "is no run with a trace" if path.exists() else "does not exist"
    neighbours = _neighbours(path)
    advice = "" if neighbours else f" A run of `yolo-stability train` has one in <run folder>/{FOLDER}/."
    raise TraceError(f"'{path}' {what} (looked for {FOLDER}/{HEADER}).{neighbours}{advice}")


def resume_point(folder: str | Path) -> ResumePoint | None:
    """Return where the trace in a `stability/` folder ends; None when it has no row yet."""
    import polars as pl

    from yolo_stability.trace.frames import read_parquet

    for part in reversed(standing(list_parts(Path(folder), "steps"))):
        try:
            rows = read_parquet(part.path, ["attempt", "step", "iteration"]).sort("step").tail(1).to_dicts()
        except (Exception, pl.exceptions.PanicException) as e:  # a damaged part; the one before it may be whole
            _LOG.warning("%s cannot be read (%s)", part.path, e)
            continue
        if rows:
            return ResumePoint(**rows[0])
    return None


def clear_trace(folder: str | Path) -> None:
    """Remove an old trace from a `stability/` folder: our own files only, the header first.

    Raises:
        TraceError: A file cannot be removed.
    """
    folder = Path(folder)
    try:
        for file in _our_files(folder):
            file.unlink(missing_ok=True)
        for incident in _entries(folder / "incidents"):
            if _INCIDENT.fullmatch(incident.name) and incident.is_dir() and not incident.is_symlink():
                shutil.rmtree(incident)
        for directory in (folder / "incidents", folder / PARTS, folder):
            with suppress(OSError):  # holds somebody else's files, or is not there
                directory.rmdir()
    except OSError as e:
        raise TraceError(
            f"The old trace in '{folder}' cannot be removed ({e.strerror}): choose another `name=`, or remove it."
        ) from e


def _our_files(folder: Path) -> Iterator[Path]:
    yield from (folder / name for name in _OURS)
    for table in ("steps", "blocks"):
        yield from (part.path for part in list_parts(folder, table))
    for directory in (folder, folder / PARTS):
        yield from (f for f in _entries(directory) if f.name.startswith(".") and f.name.endswith(".tmp"))


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _neighbours(path: Path) -> str:
    """Name runs with a trace inside, around or above `path`, the most similar name first."""
    found: dict[str, None] = {}
    for place in (path, path.parent, path.parent.parent):
        with suppress(OSError):
            candidates = [place, *sorted(place.iterdir())] if place.is_dir() else []
            for run in candidates:
                if (run / FOLDER / HEADER).is_file():
                    found[str(run)] = None
    if not found:
        return ""
    hint = nearest(str(path), found)
    more = ", ".join(f"'{run}'" for run in list(found)[:3])
    return hint or f" Runs with a trace nearby: {more}."


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


def _read_table(folder: Path, table: Table, names: Sequence[str], upto: int = -1) -> pl.DataFrame:
    """Read a consistent set of parts: again whenever a merge moved rows between files meanwhile.

    Args:
        folder: The `stability/` folder.
        table: Which table to read.
        names: Block names in the order of the header.
        upto: Step that must be there; a listing made during a merge can miss the merged part and its pieces.
    """
    damaged: set[Part] = set()
    for _ in range(_RETRIES):
        parts, frames, gone = _read_parts(list_parts(folder, table), damaged)
        now = [p for p in standing(list_parts(folder, table)) if p not in damaged]
        last = parts[-1].last if parts else -1
        if (
            not gone
            and (last >= upto or damaged)
            and set(parts) <= set(now)
            and all(p.first > last for p in now if p not in parts)
        ):
            break
        time.sleep(_RETRY_SECONDS)
    return _join(frames, table, names)


def _read_parts(parts: Sequence[Part], damaged: set[Part]) -> tuple[list[Part], list[pl.DataFrame], set[Part]]:
    """Read the standing parts; one that is gone or damaged makes way for the pieces it covered.

    Args:
        parts: What was listed.
        damaged: Parts known to be damaged; more are added as they are found.

    Returns:
        The parts that were read, their rows, and those that were deleted between listing and reading.
    """
    import polars as pl

    from yolo_stability.trace.frames import read_parquet

    frames: dict[Part, pl.DataFrame] = {}
    gone: set[Part] = set()
    while True:
        chosen = standing(p for p in parts if p not in damaged and p not in gone)
        part = next((p for p in chosen if p not in frames), None)
        if part is None:
            return chosen, [frames[p] for p in chosen], gone
        try:
            frame = read_parquet(part.path)
            if not {"attempt", "step"} <= set(frame.columns):
                raise ValueError("it lacks the columns attempt and step")
            frames[part] = frame
        except FileNotFoundError:
            gone.add(part)
        except (Exception, pl.exceptions.PanicException) as e:
            _LOG.warning("%s is damaged and left out: %s", part.path, e)
            damaged.add(part)


def _join(parts: Sequence[pl.DataFrame], table: Table, names: Sequence[str]) -> pl.DataFrame:
    """Stack parts, ordered and unique by key; what one writer wrote is so already, and only looked through."""
    import polars as pl

    from yolo_stability.trace.frames import concat, normalise

    keys = ["attempt", "step"] if table == "steps" else ["attempt", "step", "block"]
    parts = [normalise(part, table, names) for part in parts]
    ends = [part.select(keys[:2])[[0, -1] if part.height > 1 else [0]] for part in parts if part.height]
    frame = concat(parts, table, names)
    if all(_rises(part, keys) for part in parts) and (not ends or _rises(pl.concat(ends), keys[:2])):
        return frame
    return frame.drop_nulls(keys).unique(keys, keep="first", maintain_order=True).sort(keys)


def _rises(frame: pl.DataFrame, keys: Sequence[str]) -> bool:
    """Whether each row's key is greater than the one before."""
    import polars as pl

    if any(frame[k].null_count() for k in keys):
        return False
    key = pl.col(keys[0]).cast(pl.Int64) * 2**32 + pl.col(keys[1]).cast(pl.Int64)
    ahead = key.diff() > 0
    if len(keys) == 3:
        ahead = ahead | ((key.diff() == 0) & (pl.col("block").to_physical().cast(pl.Int64).diff() > 0))
    return bool(frame.select(ahead.fill_null(True).all()).item())


def _read_events(folder: Path) -> pl.DataFrame:
    import polars as pl

    schema: dict[str, Any] = {
        "attempt": pl.UInt16,
        "step": pl.UInt32,
        "kind": pl.String,
        "block": pl.String,
        "data": pl.String,
    }
    try:
        lines = (folder / EVENTS).read_bytes().splitlines()
    except FileNotFoundError:
        lines = []
    return pl.DataFrame([row for line in lines if (row := event_row(line))], schema=schema)
