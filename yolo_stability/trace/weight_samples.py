"""Weight norms and update ratios of the sampled steps of a run, without the steps between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import polars as pl

__all__ = ["WeightSamples"]

_Ints = npt.NDArray[np.int64]
_Places = npt.NDArray[np.int32]
_Norms = npt.NDArray[np.floating[Any]]


class WeightSamples:
    """Collects the sampled rows of a block table, which is read in slices.

    Most steps are not sampled, so that (B, K) arrays of the K sampled ones take a tenth of the
    memory that (B, S) arrays would.
    """

    def __init__(self) -> None:
        none, floats = np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.float32)
        self._parts: list[tuple[_Places, _Places, _Norms, _Norms]] = [(none, none, floats, floats)]

    def add(
        self, part: pl.DataFrame, known: npt.NDArray[np.bool_], block: _Ints, row: _Ints
    ) -> None:
        """Add the sampled rows of a slice.

        Args:
            part: The slice of the block table.
            known: (n,) whether a row belongs to a recorded step.
            block: (n,) index of its block.
            row: (n,) position of its step.
        """
        weight, ratio = (_float32(part[name]) for name in ("weight_norm", "update_ratio"))
        at = np.flatnonzero(known & ~np.isnan(weight))
        compact = block[at].astype(np.int32), row[at].astype(np.int32)
        self._parts.append((*compact, weight[at], ratio[at]))

    def spread(self, blocks: int) -> tuple[_Ints, _Norms, _Norms]:
        """Return the (K,) sampled positions and the (B, K) weight norms and update ratios.

        Args:
            blocks: Number of blocks.
        """
        block, row, weight, ratio = (
            np.concatenate(column) for column in zip(*self._parts, strict=True)
        )
        sampled = np.unique(row).astype(np.int64)
        weights, ratios = (
            np.full((blocks, sampled.size), np.nan, dtype=np.float32) for _ in range(2)
        )
        place = np.searchsorted(sampled, row)
        weights[block, place], ratios[block, place] = weight, ratio
        return sampled, weights, ratios


def _float32(column: pl.Series) -> _Norms:
    import polars as pl

    with np.errstate(over="ignore"):
        values: _Norms = (
            column.cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(np.float32)
        )
    return values
