"""Reads `series.parquet`: the course of every run in bins of steps, as arrays."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from yolo_stability.core.errors import TraceError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["COLUMNS", "BinnedRun", "Key", "read_series"]

Key = tuple[str, str, str, int]
"""Arm, task, model and seed of a run."""

COLUMNS = (
    *("arm", "task", "model", "seed", "bin", "first_step", "last_step", "block", "index"),
    *("median", "highest", "nonfinite", "skipped", "loss", "loss_highest"),
)
_MOST_ROWS = 10**7  # 1,000 runs of 30 blocks in 300 bins
_VALUES = ("median", "highest", "loss", "loss_highest", "nonfinite", "skipped")


@dataclass(frozen=True, slots=True, kw_only=True)
class BinnedRun:
    """One run in bins of steps; unknown values are NaN.

    Attributes:
        first: First step of each bin, shape (bins,).
        last: Last step of each bin, shape (bins,).
        norm: Median total gradient norm, shape (bins,).
        norm_highest: Largest finite total norm, shape (bins,).
        loss: Median loss, shape (bins,).
        loss_highest: Largest finite loss, shape (bins,).
        nonfinite: Elements that were NaN or Inf, shape (bins,).
        skipped: Steps that the guard skipped, shape (bins,).
        blocks: Names of the blocks, in the order of the network.
        block_norm: Median norm by block, shape (blocks, bins).
        block_nonfinite: Elements that were NaN or Inf by block, shape (blocks, bins).
    """

    first: Any
    last: Any
    norm: Any
    norm_highest: Any
    loss: Any
    loss_highest: Any
    nonfinite: Any
    skipped: Any
    blocks: tuple[str, ...]
    block_norm: Any
    block_nonfinite: Any

    def column(self, step: int | None) -> int | None:
        """Return the bin that contains a step; None if there is none."""
        if step is None:
            return None
        found = np.flatnonzero((self.first <= step) & (self.last >= step))
        return int(found[0]) if len(found) else None


def read_series(file: Path) -> Mapping[Key, BinnedRun]:
    """Read the binned series of all runs.

    Args:
        file: `series.parquet`.

    Raises:
        TraceError: The file is missing, cannot be read, or lacks a column.
    """
    import polars as pl

    try:
        content = file.read_bytes()  # not memory-mapped: the same process may rewrite the file
        rows = pl.scan_parquet(io.BytesIO(content)).select(pl.len()).collect().item()
        if rows > _MOST_ROWS:
            raise OSError(f"it contains {rows:,} rows")
        frame = pl.read_parquet(io.BytesIO(content))
    except FileNotFoundError:
        raise TraceError(
            f"{file} is missing. Run the benchmark again: it resumes and writes the file."
        ) from None
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TraceError(
            f"{file} cannot be read ({first}). Run the benchmark again to rewrite it."
        ) from None
    lacking = [name for name in COLUMNS if name not in frame.columns]
    if lacking:
        raise TraceError(
            f"{file} lacks the column {lacking[0]!r}. Run the benchmark again to rewrite it."
        )
    try:
        parts = frame.partition_by(
            "arm", "task", "model", "seed", as_dict=True, maintain_order=True
        )
        return {
            (str(a), str(t), str(m), int(s)): _run_series(part)
            for (a, t, m, s), part in parts.items()
        }
    except (TypeError, ValueError, KeyError, ArithmeticError, pl.exceptions.PolarsError) as error:
        raise TraceError(
            f"{file} has columns of the wrong type ({type(error).__name__}). Run the benchmark "
            "again to rewrite it."
        ) from None


def _run_series(part: pl.DataFrame) -> BinnedRun:
    """Convert the rows of one run to arrays; a gap between bins becomes a bin without values."""
    import polars as pl

    bins = (
        part.group_by("bin")
        .agg(pl.col("first_step").min(), pl.col("last_step").max())
        .sort("first_step")
    )
    first, last, place = _without_gaps(
        bins["bin"].to_list(), bins["first_step"].to_list(), bins["last_step"].to_list()
    )
    whole = _scatter(part.filter(pl.col("block").is_null()), place, len(first), {None: 0})
    named = part.filter(pl.col("block").is_not_null())
    order = named.unique("block", keep="first", maintain_order=True).sort(
        "index", maintain_order=True
    )
    blocks = tuple(order["block"].to_list())
    cells = _scatter(named, place, len(first), {block: i for i, block in enumerate(blocks)})
    return BinnedRun(
        first=first,
        last=last,
        norm=whole["median"][0],
        norm_highest=whole["highest"][0],
        loss=whole["loss"][0],
        loss_highest=whole["loss_highest"][0],
        nonfinite=np.nan_to_num(whole["nonfinite"][0]),
        skipped=np.nan_to_num(whole["skipped"][0]),
        blocks=blocks,
        block_norm=cells["median"],
        block_nonfinite=np.nan_to_num(cells["nonfinite"]),
    )


def _without_gaps(
    bins: list[int], first: list[int], last: list[int]
) -> tuple[Any, Any, dict[int, int]]:
    """Return first and last steps with gaps as bins, and the position of each bin of the file."""
    starts: list[int] = []
    ends: list[int] = []
    place: dict[int, int] = {}
    for number, start, end in zip(bins, first, last, strict=True):
        if ends and start > ends[-1] + 1:
            starts.append(ends[-1] + 1)
            ends.append(start - 1)
        place[number] = len(starts)
        starts.append(start)
        ends.append(end)
    return np.array(starts, dtype=np.int64), np.array(ends, dtype=np.int64), place


def _scatter(
    part: pl.DataFrame, place: dict[int, int], width: int, rows: Mapping[str | None, int]
) -> dict[str, Any]:
    """Scatter the values of a table into arrays of shape (rows, width)."""
    import polars as pl

    column = np.array([place[b] for b in part["bin"].to_list()], dtype=np.int64)
    row = np.array([rows[b] for b in part["block"].to_list()], dtype=np.int64)
    found: dict[str, Any] = {}
    for name in _VALUES:
        found[name] = np.full((len(rows), width), np.nan)
        found[name][row, column] = part[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
    return found
