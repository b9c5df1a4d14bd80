"""A run as dense arrays over its steps, and binned: what verdicts are read from and `series.parquet` is made of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from yolo_stability.types import Trace

if TYPE_CHECKING:
    import polars as pl

__all__ = ["MAX_BINS", "BlockProfile", "RunSeries", "as_series", "binned", "median_of", "series_frame"]

MAX_BINS = 60

Floats = npt.NDArray[np.float64]
Norms = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_SLICE = 1 << 18
_KEYS = ("arm", "task", "model", "seed")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockProfile:
    """What a run's gradients were like along the depth.

    Attributes:
        names: Blocks in the order of the header.
        medians: Median of the finite norms of each; NaN where there is none.
        nonfinite: Whether any of its gradients held a NaN or Inf.
    """

    names: tuple[str, ...]
    medians: Floats
    nonfinite: Bools


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunSeries:
    """A trace as arrays; S steps in their order, B blocks.

    It holds 4 bytes per step and block instead of the 23 of the tables it was read from, so that a long run and its
    controls fit into memory together.

    Attributes:
        names: Blocks in the order of the header, then those that only rows name.
        roles: Their roles; `other` for those that the header lacks.
        step: (S,) number of the step.
        loss: (S,) loss.
        norm: (S,) total gradient norm; NaN where it is null.
        nonfinite: (S,) elements of the gradients that are NaN or Inf.
        guard: (S,) the guard skipped it.
        scaler: (S,) the AMP scaler skipped it.
        clip: (S,) clip coefficient; NaN where nothing clips.
        block_norm: (B, S) gradient norm of each block; NaN where it is null.
        bad_block: Block of each entry of a block's gradient with non-finite elements, in the order of `bad_row`.
        bad_row: Its position in `step`; ascending.
        bad_count: Its number of non-finite elements.
        stop_step: Step at which the guard ended the run; None if it did not.
        completed: What the event at the end of the run says; None without one.
    """

    names: tuple[str, ...]
    roles: tuple[str, ...]
    step: Ints
    loss: Floats
    norm: Floats
    nonfinite: Ints
    guard: Bools
    scaler: Bools
    clip: Floats
    block_norm: Norms
    bad_block: Ints
    bad_row: Ints
    bad_count: Ints
    stop_step: int | None
    completed: bool | None

    def profile(self) -> BlockProfile:
        """Return the run along the depth."""
        nonfinite = np.zeros(len(self.names), dtype=bool)
        nonfinite[self.bad_block] = True
        medians = np.array([median_of(row) for row in self.block_norm], dtype=np.float64)
        return BlockProfile(names=self.names, medians=medians, nonfinite=nonfinite)


def as_series(trace: Trace | RunSeries) -> RunSeries:
    """Return a trace as arrays; what is so already is returned as it is."""
    if isinstance(trace, RunSeries):
        return trace
    import polars as pl

    steps = trace.steps.sort("step", "attempt")
    names, roles = _names_and_roles(trace)
    blocks, bad = _dense(trace, _keys(steps), names)
    order = np.argsort(bad[1], kind="stable")
    stop, completed = _ending(trace.events)
    return RunSeries(
        names=names,
        roles=roles,
        step=steps["step"].cast(pl.Int64).to_numpy(),
        loss=_floats(steps["loss"]),
        norm=_floats(steps["grad_norm"]),
        nonfinite=steps["nonfinite"].fill_null(0).cast(pl.Int64).to_numpy(),
        guard=(steps["skipped"] == "guard").fill_null(False).to_numpy(),
        scaler=(steps["skipped"] == "scaler").fill_null(False).to_numpy(),
        clip=_floats(steps["clip_coef"]),
        block_norm=blocks,
        bad_block=bad[0][order],
        bad_row=bad[1][order],
        bad_count=bad[2][order],
        stop_step=stop,
        completed=completed,
    )


def median_of(values: Norms, axis: int = -1) -> Any:
    """Return the median of the finite values along an axis; NaN where there is none."""
    finite = np.where(np.isfinite(values), values, np.nan)
    if not finite.shape[axis]:
        return np.full(np.delete(finite.shape, axis), np.nan)[()]
    # numpy's own median of what is not NaN goes through Python for every slice; a sort puts NaN last
    ordered = np.sort(finite, axis=axis).astype(np.float64, copy=False)
    count = np.isfinite(finite).sum(axis=axis, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis)
    high = np.take_along_axis(ordered, np.minimum(count // 2, ordered.shape[axis] - 1), axis)
    return np.squeeze(low + (high - low) / 2, axis=axis)[()]


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


def _names_and_roles(trace: Trace) -> tuple[tuple[str, ...], tuple[str, ...]]:
    roles = {b.name: b.role for b in trace.header.blocks}
    for name in getattr(trace.blocks.schema["block"], "categories", ()):
        roles.setdefault(str(name), "other")
    return tuple(roles), tuple(roles.values())


def _keys(frame: pl.DataFrame) -> Ints:
    """Return attempt and step of each row as one number."""
    import polars as pl

    keys: Ints = frame.select(pl.col("attempt").cast(pl.Int64) * 2**32 + pl.col("step").cast(pl.Int64))[:, 0].to_numpy()
    return keys


def _dense(trace: Trace, keys: Ints, names: Sequence[str]) -> tuple[Norms, tuple[Ints, Ints, Ints]]:
    """Spread the rows of the blocks over (B, S), slice by slice: the tables of a long run are large enough already.

    Returns:
        The norms; and block, row and count of each entry with non-finite elements.
    """
    import polars as pl

    order = pl.Enum(list(names))
    wide = trace.blocks.schema["grad_norm"] == pl.Float64
    norms = np.full((len(names), keys.size), np.nan, dtype=np.float64 if wide else np.float32)
    sorter = np.argsort(keys, kind="stable")
    bad: list[tuple[Ints, Ints, Ints]] = [(np.zeros(0, dtype=np.int64),) * 3]
    for first in range(0, trace.blocks.height if keys.size else 0, _SLICE):
        part = trace.blocks.slice(first, _SLICE)
        key = _keys(part)
        place = np.minimum(np.searchsorted(keys, key, sorter=sorter), keys.size - 1)
        row = sorter[place]
        known = keys[row] == key  # a block's row without that of its step: the end of a killed run
        block = part["block"].cast(order).to_physical().cast(pl.Int64).to_numpy()
        norms[block[known], row[known]] = part["grad_norm"].fill_null(float("nan")).to_numpy()[known]
        count = part["nonfinite"].fill_null(0).cast(pl.Int64).to_numpy()
        hit = np.flatnonzero(known & (count > 0))
        bad.append((block[hit], row[hit].astype(np.int64), count[hit]))
    blocks, rows, counts = (np.concatenate(column) for column in zip(*bad, strict=True))
    return norms, (blocks, rows, counts)


def _floats(column: pl.Series) -> Floats:
    import polars as pl

    values: Floats = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return values


def _ending(events: pl.DataFrame) -> tuple[int | None, bool | None]:
    """Return the step at which the guard ended the run, and whether the last event says that it came to its end."""
    stop, completed = None, None
    for kind, step, data in events.select("kind", "step", "data").iter_rows():
        if kind == "guard_stop":
            stop = int(step)
        elif kind == "end":
            completed = bool(json.loads(data or "{}").get("completed"))
        elif kind == "resume":
            completed = None
    return stop, completed
