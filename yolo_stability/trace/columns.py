"""Columns of the tables as numpy arrays; null becomes NaN, or 0 in columns of whole numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Bools", "Floats", "Ints", "Norms", "by_name", "floats", "ints", "optional"]

Floats = npt.NDArray[np.float64]
Norms = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def floats(column: pl.Series) -> Floats:
    """Return a column as float64."""
    import polars as pl

    values: Floats = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return values


def optional(frame: pl.DataFrame, column: str) -> Floats:
    """Return a column that older traces lack; all NaN where it is missing."""
    return floats(frame[column]) if column in frame.columns else np.full(frame.height, np.nan)


def by_name(frame: pl.DataFrame, prefix: str) -> dict[str, Floats]:
    """Return the columns with a prefix, by the rest of their name."""
    names = [name for name in frame.columns if name.startswith(prefix)]
    return {name.removeprefix(prefix): floats(frame[name]) for name in names}


def ints(frame: pl.DataFrame, column: str) -> Ints:
    """Return a column of whole numbers."""
    import polars as pl

    values: Ints = frame[column].fill_null(0).cast(pl.Int64).to_numpy()
    return values
