"""Runs reduced to bins: what `series.parquet` is made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from yolo_stability.series import Floats, Ints, Norms, RunSeries, median_of

if TYPE_CHECKING:
    import polars as pl

__all__ = ["MAX_BINS", "binned", "series_frame"]

MAX_BINS = 60

_KEYS = ("arm", "task", "model", "seed")


def binned(run: RunSeries, planned_steps: int | None = None) -> pl.DataFrame:
    """Reduce a run to at most 60 bins of equal width.

    Args:
        run: The run.
        planned_steps: Steps it would have had; a run that was longer counts by its last step.

    Returns:
        The columns of `series.parquet` from `bin` on, ordered by block (the whole model first) and bin. A bin has rows
        if the run has a step in it.
    """
    import polars as pl

    planned = max(int(run.step[-1]) + 1 if run.step.size else 1, planned_steps or 0)
    width = -(-planned // MAX_BINS)
    number = run.step // width
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    bins = number[starts]
    edges = np.append(starts, run.step.size)
    shared = {
        "bin": bins,
        "first_step": bins * width,
        "last_step": np.minimum((bins + 1) * width, planned) - 1,
        "skipped": _sums(run.guard, starts),
    }
    whole = {
        **shared,
        "nonfinite": _sums(run.nonfinite, starts),
        **_middle_and_top(run.norm[None, :], edges, "median", "highest", 0),
        **_middle_and_top(run.loss[None, :], edges, "loss", "loss_highest", 0),
    }
    medians, tops = _pooled(run.block_norm, edges)
    bad = np.zeros((len(run.names), len(bins)), dtype=np.int64)
    np.add.at(bad, (run.bad_block, np.searchsorted(edges, run.bad_row, side="right") - 1), run.bad_count)
    rows = [_frame(whole, None, None)]
    for index, name in enumerate(run.names):
        block = {**shared, "nonfinite": bad[index], "median": medians[index], "highest": tops[index]}
        rows.append(_frame(block, name, index))
    return pl.concat(rows)


def series_frame(parts: Iterable[tuple[tuple[str, str, str, int], pl.DataFrame]], arms: Sequence[str]) -> pl.DataFrame:
    """Put binned runs together as `series.parquet` holds them.

    Args:
        parts: Arm, task, model and seed of each run, and what `binned` made of it; in any order.
        arms: Names of the arms in the order in which a report shows them; further ones follow by name.

    Returns:
        Rows sorted by arm, task, model, seed, block (the whole model first, then along the depth) and bin.
    """
    import polars as pl

    place = {name: i for i, name in enumerate(arms)}
    ordered = sorted(parts, key=lambda part: (place.get(part[0][0], len(place)), *part[0]))
    frames = [
        frame.select(
            *(pl.lit(v).alias(k) for k, v in zip(_KEYS[:3], key[:3], strict=True)),
            pl.lit(key[3], dtype=pl.Int64).alias("seed"),
            pl.all(),
        )
        for key, frame in ordered
    ]
    return pl.concat(
        [pl.DataFrame(schema={**dict.fromkeys(_KEYS[:3], pl.String), "seed": pl.Int64, **_schema()}), *frames]
    )


def _schema() -> dict[str, Any]:
    import polars as pl

    numbers = dict.fromkeys(("median", "highest"), pl.Float64)
    return {
        **dict.fromkeys(("bin", "first_step", "last_step"), pl.Int64),
        **{"block": pl.String, "index": pl.Int64},
        **numbers,
        **dict.fromkeys(("nonfinite", "skipped"), pl.Int64),
        **dict.fromkeys(("loss", "loss_highest"), pl.Float64),
    }


def _frame(columns: dict[str, npt.NDArray[Any]], block: str | None, index: int | None) -> pl.DataFrame:
    """Return the rows of one block, or of the whole model; NaN becomes null, what is not given too."""
    import polars as pl

    frame = pl.DataFrame(columns).with_columns(
        pl.lit(block, dtype=pl.String).alias("block"), pl.lit(index, dtype=pl.Int64).alias("index")
    )
    schema = _schema()
    missing = [pl.lit(None, dtype=schema[name]).alias(name) for name in schema if name not in frame.columns]
    floats = [name for name, dtype in schema.items() if dtype == pl.Float64]
    return (
        frame.with_columns(missing)
        .select(list(schema))
        .cast(pl.Schema(schema))
        .with_columns(pl.col(floats).fill_nan(None))
    )


def _middle_and_top(values: Norms, edges: Ints, middle: str, top: str, row: int) -> dict[str, Floats]:
    medians, tops = _pooled(values, edges)
    return {middle: medians[row], top: tops[row]}


def _pooled(values: Norms, edges: Ints) -> tuple[Floats, Floats]:
    """Return median and maximum of the finite values of each row between neighbouring edges, (rows, bins) each."""
    shape = (values.shape[0], max(len(edges) - 1, 0))
    medians, tops = np.full(shape, np.nan), np.full(shape, np.nan)
    for i, (first, last) in enumerate(pairwise(edges)):
        part = values[:, first:last]
        medians[:, i] = median_of(part)
        tops[:, i] = np.where(np.isfinite(part), part, -np.inf).max(axis=1, initial=-np.inf)
    return medians, np.where(np.isfinite(tops), tops, np.nan)


def _sums(values: npt.NDArray[Any], starts: Ints) -> Ints:
    return np.add.reduceat(values.astype(np.int64), starts) if starts.size else np.zeros(0, dtype=np.int64)
