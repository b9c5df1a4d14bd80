"""Heat-map data: gradient norms of all blocks over a run, binned into a few hundred columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from yolo_stability.core.types import Trace
from yolo_stability.trace.summary import (
    _KEYS,
    Bools,
    Floats,
    Ints,
    _floats,
    _names_and_roles,
    _nonfinite_steps,
    role_group,
)

if TYPE_CHECKING:
    pass

__all__ = ["HeatMatrix", "heat_matrix"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeatMatrix:
    """Gradient norms of all blocks over a run, binned by maximum; B blocks, C columns.

    Attributes:
        blocks: Names of the blocks, in the order of the header.
        roles: Role of each block.
        groups: Group of each block, see `role_group`.
        values: (B, C) log10 of the largest finite norm in the bin; NaN without one, -inf for 0.
        block_nonfinite: (B, C) whether the block's gradient held a NaN or Inf in the bin.
        edges: (C + 1,) first step of each column, then the last step plus one.
        guard: (C,) whether the guard skipped a step in the bin.
        scaler: (C,) whether the AMP scaler skipped a step in the bin.
        nonfinite: (C,) whether a step in the bin had a NaN or Inf in gradients, norm or loss.
        total: (C,) largest finite total norm in the bin; NaN without one.
        loss: (C,) largest finite loss in the bin; NaN without one.
        epochs: Epochs in the order in which they began.
        epoch_steps: First step of each of these epochs.
        attempt_steps: First step of each attempt except the first.
    """

    blocks: tuple[str, ...]
    roles: tuple[str, ...]
    groups: tuple[str, ...]
    values: Floats
    block_nonfinite: Bools
    edges: Ints
    guard: Bools
    scaler: Bools
    nonfinite: Bools
    total: Floats
    loss: Floats
    epochs: tuple[int, ...]
    epoch_steps: tuple[int, ...]
    attempt_steps: tuple[int, ...]


def heat_matrix(trace: Trace, max_columns: int = 600) -> HeatMatrix:
    """Bin a trace into a matrix of blocks by steps.

    Args:
        trace: A trace from `load_trace`.
        max_columns: Maximum number of columns; consecutive steps share one, which holds their
            maximum.
    """
    steps = trace.steps
    n = steps.height
    width = -(-n // max_columns) if n else 1
    column = np.arange(n, dtype=np.int64) // width
    columns = int(column[-1]) + 1 if n else 0
    names, roles = _names_and_roles(trace)
    values, block_nonfinite = _binned_blocks(trace, column, names, columns)
    number = steps["step"].to_numpy().astype(np.int64)
    edges = np.append(number[::width], number[-1] + 1) if n else np.zeros(1, np.int64)
    epochs, attempts = steps["epoch"].to_numpy(), steps["attempt"].to_numpy()
    begins = _changes(epochs)
    return HeatMatrix(
        blocks=names,
        roles=roles,
        groups=tuple(role_group(r) for r in roles),
        values=values,
        block_nonfinite=block_nonfinite,
        edges=edges,
        guard=_any(column, (steps["skipped"] == "guard").fill_null(False).to_numpy(), columns),
        scaler=_any(column, (steps["skipped"] == "scaler").fill_null(False).to_numpy(), columns),
        nonfinite=_any(column, _nonfinite_steps(steps), columns),
        total=_max(column, _floats(steps["grad_norm"]), columns),
        loss=_max(column, _floats(steps["loss"]), columns),
        epochs=tuple(int(e) for e in epochs[begins]),
        epoch_steps=tuple(int(s) for s in number[begins]),
        attempt_steps=tuple(int(s) for s in number[_changes(attempts)][1:]),
    )


def _binned_blocks(
    trace: Trace, column: Ints, names: Sequence[str], columns: int
) -> tuple[Floats, Bools]:
    """Return log10 of the largest finite norm and whether any was non-finite, both (B, C)."""
    import polars as pl

    values = np.full((len(names), columns), np.nan)
    nonfinite = np.zeros((len(names), columns), dtype=bool)
    norm = pl.col("grad_norm").cast(pl.Float64)
    where = trace.steps.select(_KEYS).with_columns(pl.Series("column", column))
    rows = (
        trace.blocks.lazy()
        .join(where.lazy(), on=_KEYS)
        .group_by("block", "column")
        .agg(
            norm.filter(norm.is_finite()).max().alias("norm"),
            ((pl.col("nonfinite") > 0) | ~norm.is_finite().fill_null(True)).any().alias("bad"),
        )
        .collect()
    )
    row_of = {name: i for i, name in enumerate(names)}
    row = np.array([row_of[n] for n in rows["block"].cast(pl.String)], dtype=np.int64)
    col = rows["column"].to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        values[row, col] = np.log10(_floats(rows["norm"]))
    nonfinite[row, col] = rows["bad"].to_numpy()
    return values, nonfinite


def _max(column: Ints, values: Floats, columns: int) -> Floats:
    result = np.full(columns, np.nan)
    np.fmax.at(result, column, np.where(np.isfinite(values), values, np.nan))
    return result


def _any(column: Ints, flags: npt.NDArray[Any], columns: int) -> Bools:
    result = np.zeros(columns, dtype=bool)
    result[column[flags.astype(bool)]] = True
    return result


def _changes(values: npt.NDArray[Any]) -> Ints:
    """Return the indices at which a value differs from the previous one; index 0 is included."""
    if not values.size:
        return np.zeros(0, dtype=np.int64)
    return np.append(0, np.flatnonzero(values[1:] != values[:-1]) + 1).astype(np.int64)
