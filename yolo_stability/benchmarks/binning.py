"""Reduces runs to bins of steps, the content of `series.parquet`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from yolo_stability.trace.arrays import Floats, Ints, Norms, RunSeries, median_of

if TYPE_CHECKING:
    import polars as pl

__all__ = ["MAX_BINS", "binned", "series_frame"]

MAX_BINS = 60

_KEYS = ("arm", "task", "model", "seed")


def binned(run: RunSeries, planned_steps: int | None = None) -> pl.DataFrame:
    """Reduce a run to at most 60 bins of equal width.

    Args:
        run: The run.
        planned_steps: Planned number of steps; ignored if the run was longer.

    Returns:
        The columns of `series.parquet` from `bin` on, ordered by block (the whole model first) and
        bin. Bins without steps have no rows.
    """
    import polars as pl

    planned = max(int(run.step[-1]) + 1 if run.step.size else 1, planned_steps or 0)
    width = -(-planned // MAX_BINS)
    number = run.step // width
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    bins = number[starts]
    edges = np.append(starts, run.step.size)
    # One frame for the whole model and all blocks, because creating frames dominates the cost.
    lines = 1 + len(run.names)
    whole, blocks = _pooled(run.norm[None, :], edges), _pooled(run.block_norm, edges)
    middles, tops = (np.vstack(pair) for pair in zip(whole, blocks, strict=True))
    bad = np.zeros((lines, len(bins)), dtype=np.int64)
    bad[0] = _sums(run.nonfinite, starts)
    np.add.at(
        bad,
        (run.bad_block + 1, np.searchsorted(edges, run.bad_row, side="right") - 1),
        run.bad_count,
    )
    nothing = np.full((len(run.names), len(bins)), np.nan)
    loss, highest_loss = (
        np.vstack([values, nothing]) for values in _pooled(run.loss[None, :], edges)
    )
    columns = {
        "bin": np.tile(bins, lines),
        "first_step": np.tile(bins * width, lines),
        "last_step": np.tile(np.minimum((bins + 1) * width, planned) - 1, lines),
        "block": [name for name in (None, *run.names) for _ in bins],
        "index": [index for index in (None, *range(len(run.names))) for _ in bins],
        "median": middles.ravel(),
        "highest": tops.ravel(),
        "nonfinite": bad.ravel(),
        "skipped": np.tile(_sums(run.guard, starts), lines),
        "loss": loss.ravel(),
        "loss_highest": highest_loss.ravel(),
    }
    return pl.DataFrame(columns, schema=_schema(), nan_to_null=True)


def series_frame(
    parts: Iterable[tuple[tuple[str, str, str, int], pl.DataFrame]], arms: Sequence[str]
) -> pl.DataFrame:
    """Concatenate binned runs to the content of `series.parquet`.

    Args:
        parts: Arm, task, model and seed of each run with the result of `binned`, in any order.
        arms: Names of the arms in the order of the report; others follow by name.

    Returns:
        Rows sorted by arm, task, model, seed, block (the whole model first, then along the depth)
        and bin.
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
        [
            pl.DataFrame(
                schema={**dict.fromkeys(_KEYS[:3], pl.String), "seed": pl.Int64, **_schema()}
            ),
            *frames,
        ]
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


def _pooled(values: Norms, edges: Ints) -> tuple[Floats, Floats]:
    """Return median and maximum of the finite values per row and bin, shape (rows, bins) each."""
    shape = (values.shape[0], max(len(edges) - 1, 0))
    medians, tops = np.full(shape, np.nan), np.full(shape, np.nan)
    for i, (first, last) in enumerate(pairwise(edges)):
        part = values[:, first:last]
        medians[:, i] = median_of(part)
        tops[:, i] = np.where(np.isfinite(part), part, -np.inf).max(axis=1, initial=-np.inf)
    return medians, np.where(np.isfinite(tops), tops, np.nan)


def _sums(values: npt.NDArray[Any], starts: Ints) -> Ints:
    return (
        np.add.reduceat(values.astype(np.int64), starts)
        if starts.size
        else np.zeros(0, dtype=np.int64)
    )
