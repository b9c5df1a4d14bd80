"""The epochs of a run as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from yolo_stability.trace.columns import Bools, Floats, Ints, floats, ints
from yolo_stability.trace.epochs import MEASURED

if TYPE_CHECKING:
    import polars as pl

__all__ = ["EpochSeries", "as_epoch_series", "no_epochs"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EpochSeries:
    """The epochs of a run as arrays, ordered by epoch; E epochs.

    Of a repeated epoch the last attempt counts.

    Attributes:
        epoch: (E,) epoch, counted from 0.
        validated: (E,) whether it ended with a validation.
        fitness: (E,) Ultralytics' fitness; NaN where unknown.
        values: (E,) values by column of `results.csv`: `train/...` (stock runs only), `val/...`,
            `metrics/...`; NaN where missing.
        missing: (E,) by column whether the cell is missing, as opposed to a NaN that was written.
        steps: (E,) optimizer steps; -1 where unknown.
    """

    epoch: Ints
    validated: Bools
    fitness: Floats
    values: Mapping[str, Floats]
    missing: Mapping[str, Bools]
    steps: Ints


def no_epochs() -> EpochSeries:
    """Return the epochs of a run that recorded none."""
    none = np.zeros(0)
    return EpochSeries(
        epoch=none.astype(np.int64),
        validated=none.astype(bool),
        fitness=none,
        values={},
        missing={},
        steps=none.astype(np.int64),
    )


def as_epoch_series(epochs: pl.DataFrame | None) -> EpochSeries:
    """Return a table of epochs as arrays.

    Args:
        epochs: `trace.epochs`; None for a run without any.
    """
    if epochs is None or not epochs.height:
        return no_epochs()
    last = epochs.unique("epoch", keep="last", maintain_order=True).sort("epoch")
    names = [name for name in last.columns if name.startswith(MEASURED)]
    return EpochSeries(
        epoch=ints(last, "epoch"),
        validated=last["validated"].fill_null(False).to_numpy(),
        fitness=floats(last["fitness"]),
        values={name: floats(last[name]) for name in names},
        missing={name: last[name].is_null().to_numpy() for name in names},
        steps=np.where(last["steps"].is_null().to_numpy(), -1, ints(last, "steps")),
    )
