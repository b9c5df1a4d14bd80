"""Hash of the recorded content of a run, independent of when, where and how it was written.

It covers the rows of both tables, sorted by attempt, step and block, with their columns by name.
Excluded are `seconds`, which never repeats; the header, which holds ids, paths and times; and the
events, whose texts name files (their effect on the training shows in the rows). An all-null column
counts as absent, since a part that lacks a column reads that way. A trace of version 1 is hashed
with every column; one of version 2 with those named here, so that a later column changes no hash:
without input statistics, whose last bits depend on the device, and without epochs, whose
validations do not change the training. Numbers count by value, not by
width: a float32 column equals the float64 column into which a merge widened it; all NaN are equal;
null is neither NaN nor 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from yolo_stability.core.types import Trace
from yolo_stability.trace.layout import TableName
from yolo_stability.trace.schema import fixed_columns

if TYPE_CHECKING:
    import polars as pl

__all__ = ["trace_digest"]

_NOT_HASHED = frozenset({"seconds", "input_min", "input_max", "input_mean", "input_std"})
_DYNAMIC = ("loss/", "lr/")
_SLICE = 1 << 18
_NAN = np.float64("nan")


def trace_digest(trace: Trace) -> str:
    """Return the SHA-256 of a run's canonical rows, as 64 hex digits.

    Args:
        trace: The run; the order of its rows and columns does not matter. Blocks are ordered as in
            its header, those missing from it by name.
    """
    version = trace.header.schema_version
    digest = hashlib.sha256(f"yolo_stability trace {version}".encode())
    tables: tuple[tuple[TableName, pl.DataFrame, list[str]], ...] = (
        ("steps", trace.steps, ["attempt", "step"]),
        ("blocks", _with_block_order(trace), ["attempt", "step", "block"]),
    )
    for table, frame, keys in tables:
        ordered = (
            frame
            if _is_sorted(frame, keys)
            else frame.sort(keys, nulls_last=True, maintain_order=True)
        )
        digest.update(f"\0{table}\0{ordered.height}".encode())
        names = _hashed(ordered, table, version)
        if version > 1:
            digest.update("".join(f"\0{name}" for name in names).encode())
        for name in names:
            digest.update(_column_digest(ordered[name]))
    return digest.hexdigest()


def _hashed(frame: pl.DataFrame, table: TableName, version: int) -> list[str]:
    """Return the names of the columns that count, in order."""
    names = set(frame.columns) - _NOT_HASHED
    if version > 1:
        fixed = fixed_columns(table, version)
        names = {name for name in names if name in fixed or name.startswith(_DYNAMIC)}
    return sorted(name for name in names if frame[name].null_count() < frame.height)


def _with_block_order(trace: Trace) -> pl.DataFrame:
    """Return the block table with block names in canonical order."""
    import polars as pl

    known = [b.name for b in trace.header.blocks]
    blocks = trace.blocks
    present = blocks["block"].unique().cast(pl.String).drop_nulls().to_list()
    order = [*known, *sorted(set(present) - set(known))]
    dtype = blocks.schema["block"]
    if isinstance(dtype, pl.Enum) and list(dtype.categories) == order:
        return blocks
    return blocks.with_columns(pl.col("block").cast(pl.String).cast(pl.Enum(order)))


def _is_sorted(frame: pl.DataFrame, keys: Sequence[str]) -> bool:
    """Return whether rows ascend by their keys, checked in slices to limit memory."""
    import polars as pl

    if any(frame[key].null_count() for key in keys):
        return False
    for first in range(0, frame.height, _SLICE):
        part = frame.slice(first, _SLICE + 1)
        key = part.select(pl.col("attempt").cast(pl.Int64) * 2**32 + pl.col("step").cast(pl.Int64))[
            :, 0
        ].to_numpy()
        gap = np.diff(key)
        ahead = gap > 0
        if "block" in keys:
            ahead |= (gap == 0) & (
                np.diff(part["block"].to_physical().cast(pl.Int64).to_numpy()) > 0
            )
        if not ahead.all():
            return False
    return True


def _column_digest(column: pl.Series) -> bytes:
    """Return the hash of a column's name, kind, nulls and values, in row order."""
    import polars as pl

    dtype, names = column.dtype, ""
    if isinstance(dtype, pl.Enum):  # few names, many rows: hash the names once, then the indices
        kind, names = "place", "".join(f"{len(n.encode())}:{n}" for n in dtype.categories)
    else:
        kind = "text" if dtype == pl.String else "float" if dtype.is_float() else "int"
    digest = hashlib.sha256(f"{column.name}\0{kind}\0{names}\0".encode())
    for first in range(0, len(column), _SLICE):
        part = column.slice(first, _SLICE)
        digest.update(b"\1" + part.is_null().to_numpy().tobytes() if part.null_count() else b"\0")
        for chunk in _bytes(part, kind):
            digest.update(chunk)
    return digest.digest()


def _bytes(part: pl.Series, kind: str) -> Iterator[bytes]:
    """Yield values as bytes independent of machine, width and NaN payload; null as zero."""
    import polars as pl

    if kind == "text":
        yield "".join(
            f"{len(text.encode())}:{text}" for text in part.fill_null("").to_list()
        ).encode()
    elif kind == "place":
        yield (
            part.to_physical()
            .fill_null(0)
            .cast(pl.Int64)
            .to_numpy()
            .astype("<i8", copy=False)
            .tobytes()
        )
    elif kind == "float":
        values = part.cast(pl.Float64).fill_null(0.0).to_numpy(writable=True)
        values[np.isnan(values)] = _NAN
        yield values.astype("<f8", copy=False).tobytes()
    else:
        yield part.cast(pl.Int64).fill_null(0).to_numpy().astype("<i8", copy=False).tobytes()
