"""Schema of the two tables: names, order and types of columns, and their Parquet encoding."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo_stability.core.types import StepRecord
from yolo_stability.trace.layout import SCHEMA_VERSION, TableName

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "blocks_frame",
    "column_order",
    "concat",
    "conform",
    "empty",
    "fixed_columns",
    "read_parquet",
    "steps_frame",
    "to_parquet",
    "warm_up",
]

F32_MAX = 3.4028234663852886e38
_DYNAMIC = ("loss/", "lr/")
_LIMITS = {"UInt16": 2**16 - 1, "UInt32": 2**32 - 1}
_KINDS = {"u16": "UInt16", "u32": "UInt32", "f32": "Float32", "str": "String"}
_STEPS = {
    "attempt": "u16",
    "step": "u32",
    "iteration": "u32",
    "epoch": "u16",
    "accumulate": "u16",
    "loss": "f32",
    "momentum": "f32",
    "grad_norm": "f32",
    "micro_norm": "f32",
    "clip_coef": "f32",
    "amp_scale": "f32",
    "skipped": "str",
    "nonfinite": "u32",
    "seconds": "f32",
}
_SINCE_2 = {
    "images": "u32",
    "objects": "u32",
    "input_min": "f32",
    "input_max": "f32",
    "input_mean": "f32",
    "input_std": "f32",
}
"""Columns of a step that traces of version 1 lack."""
_BLOCKS = {
    "attempt": "u16",
    "step": "u32",
    "block": "str",
    "grad_norm": "f32",
    "nonfinite": "u32",
    "weight_norm": "f32",
    "update_ratio": "f32",
}
_WIDE = "grad_norm"  # the one metric whose finite values can exceed the range of float32


def steps_frame(records: Sequence[StepRecord], version: int = SCHEMA_VERSION) -> pl.DataFrame:
    """Convert records into rows of `trace.steps`, in order; names missing in a record are null.

    Args:
        records: Records to write.
        version: Version of the trace; one of version 1 gets no columns of version 2.
    """
    columns: dict[str, list[Any]] = {
        name: [getattr(r, name) for r in records] for name in fixed_columns("steps", version)
    }
    for prefix, field in zip(_DYNAMIC, ("loss_items", "lr_by_group"), strict=True):
        names = dict.fromkeys(name for r in records for name in getattr(r, field))
        for name in names:
            columns[prefix + name] = [getattr(r, field).get(name) for r in records]
    return _frame(columns, "steps", version)


def blocks_frame(records: Sequence[StepRecord], names: Sequence[str]) -> pl.DataFrame:
    """Convert records into rows of `trace.blocks`, one per (step, block), in record order.

    Args:
        records: Records to write.
        names: Block names in the order of the header; a record may name others.
    """
    import polars as pl

    stats = [s for r in records for s in r.blocks]
    columns: dict[str, list[Any]] = {
        "attempt": [r.attempt for r in records for _ in r.blocks],
        "step": [r.step for r in records for _ in r.blocks],
        "block": [s.block for s in stats],
        "grad_norm": [s.grad_norm for s in stats],
        "nonfinite": [s.nonfinite_count for s in stats],
        "weight_norm": [s.weight_norm for s in stats],
        "update_ratio": [s.update_ratio for s in stats],
    }
    order = pl.Enum(list(dict.fromkeys([*names, *columns["block"]])))
    frame = _frame(columns, "blocks", SCHEMA_VERSION).with_columns(pl.col("block").cast(order))
    return frame.unique(["attempt", "step", "block"], keep="first", maintain_order=True)


def fixed_columns(table: TableName, version: int = SCHEMA_VERSION) -> dict[str, str]:
    """Return the kind of each column that every trace of a version has, by name, in order."""
    if table == "blocks":
        return _BLOCKS
    return _STEPS if version < 2 else {**_STEPS, **_SINCE_2}


def empty(table: TableName, version: int = SCHEMA_VERSION) -> pl.DataFrame:
    """Return a table with its fixed columns and no rows."""
    return _frame({name: [] for name in fixed_columns(table, version)}, table, version)


def conform(
    frame: pl.DataFrame, table: TableName, names: Sequence[str], version: int = SCHEMA_VERSION
) -> pl.DataFrame:
    """Convert a table read from disk to the columns, order and types of the contract.

    Args:
        frame: Rows as read; columns may be missing or of another type.
        table: Table that the rows belong to.
        names: Block names in the order of the header.
        version: Version of the trace.

    Returns:
        The fixed columns, with dynamic ones in their place; `block` as an Enum in the order of the
        header (other names last); `grad_norm` as float64 only if it was float64 on disk.
    """
    import polars as pl

    missing = [n for n in fixed_columns(table, version) if n not in frame.columns]
    frame = frame.with_columns(pl.lit(None).alias(n) for n in missing)
    frame = frame.select(column_order(frame.columns, table, version))
    # `frame.schema` is rebuilt on each access: with thousands of columns that takes minutes
    schema = frame.schema
    kept = {"block", *([_WIDE] if schema.get(_WIDE) == pl.Float64 else [])}
    wanted = {n: t for n, t in _dtypes(frame.columns, table).items() if n not in kept}
    frame = frame.cast({n: t for n, t in wanted.items() if schema[n] != t}, strict=False)
    if table == "blocks":
        frame = _with_block_order(frame, names)
    return frame


def concat(
    frames: Iterable[pl.DataFrame],
    table: TableName,
    names: Sequence[str],
    version: int = SCHEMA_VERSION,
) -> pl.DataFrame:
    """Concatenate parts of a table; missing columns are null, float32 widens to float64."""
    import polars as pl

    parts = [conform(frame, table, names, version) for frame in frames]
    if not parts:
        return conform(empty(table, version), table, names, version)
    if table == "blocks" and len({str(p.schema["block"]) for p in parts}) > 1:
        parts = [p.with_columns(pl.col("block").cast(pl.String)) for p in parts]
    joined = pl.concat(parts, how="diagonal_relaxed", rechunk=False)
    return conform(joined, table, names, version)


def to_parquet(frame: pl.DataFrame) -> bytes:
    """Return a table as the bytes of a Parquet file: zstd, one row group, no statistics."""
    buffer = io.BytesIO()
    frame.write_parquet(
        buffer, compression="zstd", statistics=False, row_group_size=max(1, frame.height)
    )
    return buffer.getvalue()


def warm_up() -> None:
    """Encode empty tables once: the first use of polars takes tenths of a second, off the steps."""
    to_parquet(empty("steps"))
    blocks_frame([], ["-"])


# a real trace has at most five rows per byte, when all norms are zero
_MOST_ROWS, _FEW_ROWS, _ROWS_A_BYTE = 2**28, 10**6, 20


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Read one part through memory, so that another process may delete the file meanwhile.

    Raises:
        ValueError: It expands to far more rows than a real trace of its size: equal rows compress
            to almost nothing.
    """
    import polars as pl

    content = path.read_bytes()
    rows = pl.scan_parquet(io.BytesIO(content)).select(pl.len()).collect().item()
    if rows > min(_MOST_ROWS, _FEW_ROWS + _ROWS_A_BYTE * len(content)):
        raise ValueError(f"its {len(content):,} bytes expand to {rows:,} rows")
    return pl.read_parquet(io.BytesIO(content), columns=None if columns is None else list(columns))


def _frame(columns: dict[str, list[Any]], table: TableName, version: int) -> pl.DataFrame:
    import polars as pl

    dtypes, order = _dtypes(columns, table), column_order(columns, table, version)
    return pl.DataFrame([_series(name, columns[name], dtypes[name]) for name in order])


def _series(name: str, values: list[Any], dtype: pl.DataType) -> pl.Series:
    """Return a column; integers beyond the range of the type are clamped, not an error."""
    import polars as pl

    if dtype == pl.String:
        return pl.Series(name, values, dtype=pl.String)
    if dtype.is_integer():
        return pl.Series(name, values, dtype=pl.Int64).clip(0, _LIMITS[str(dtype)]).cast(dtype)
    if name == _WIDE:
        wide = pl.Series(name, values, dtype=pl.Float64)
        return wide if ((wide.abs() > F32_MAX) & wide.is_finite()).any() else wide.cast(pl.Float32)
    return pl.Series(name, values, dtype=dtype)


def _with_block_order(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    import polars as pl

    dtype = frame.schema["block"]
    if isinstance(dtype, pl.Enum) and list(dtype.categories)[: len(names)] == list(names):
        return frame
    present = frame["block"].cast(pl.String)
    extra = [
        n for n in present.unique(maintain_order=True).drop_nulls().to_list() if n not in set(names)
    ]
    return frame.with_columns(present.cast(pl.Enum([*dict.fromkeys(names), *extra])))


def _dtypes(columns: Iterable[str], table: TableName) -> dict[str, pl.DataType]:
    import polars as pl

    fixed = fixed_columns(table)
    return {name: getattr(pl, _KINDS[fixed.get(name, "f32")])() for name in columns}


def column_order(
    columns: Iterable[str], table: TableName, version: int = SCHEMA_VERSION
) -> list[str]:
    """Return the contract's column order: dynamic columns after `loss`, losses before rates."""
    fixed = list(fixed_columns(table, version))
    if table == "blocks":
        return fixed
    cut = fixed.index("loss") + 1
    names = list(columns)
    dynamic = [name for prefix in _DYNAMIC for name in names if name.startswith(prefix)]
    return [*fixed[:cut], *dynamic, *fixed[cut:]]
