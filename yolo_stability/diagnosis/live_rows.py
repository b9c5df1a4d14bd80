"""The latest steps of a run in progress, as arrays for the rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from yolo_stability.core.types import StepRecord
from yolo_stability.trace.arrays import OPTIONAL, RunSeries, SeriesEvent

__all__ = ["LiveRows"]


class LiveRows:
    """The last steps in arrays of twice the window, so that adding a step copies rarely.

    Args:
        names: Blocks of the model.
        roles: Role of each block.
        window: Number of steps kept.
        summed: Whether the loss that is differentiated is a sum over the images of a batch.
    """

    def __init__(
        self, names: tuple[str, ...], roles: tuple[str, ...], window: int, *, summed: bool = False
    ) -> None:
        self._summed = summed
        self._names, self._roles, self._window = names, roles, window
        self._place = {name: i for i, name in enumerate(names)}
        size = 2 * window
        whole = ("step", "nonfinite", "epoch", "attempt", "accumulate", "update_block")
        self._columns: dict[str, Any] = {name: np.zeros(size, dtype=np.int64) for name in whole}
        self._columns |= {
            name: np.zeros(size)
            for name in ("loss", "norm", "micro_norm", "clip", "lr", "amp_scale", "update")
        }
        self._columns |= {name: np.full(size, np.nan) for name in OPTIONAL}
        self._named: dict[str, dict[str, Any]] = {"losses": {}, "rates": {}}
        self._columns |= {name: np.zeros(size, dtype=bool) for name in ("guard", "scaler")}
        self._norms, self._weights, self._updates = (
            np.full((len(names), size), np.nan, dtype=np.float32) for _ in range(3)
        )
        self._sampled = np.zeros(size, dtype=bool)
        self._bad = np.zeros((len(names), size), dtype=np.int64)
        self._end, self._restarted = 0, False

    @property
    def last_update(self) -> float:
        """Largest update ratio of the last step; NaN if it was not measured."""
        return float(self._columns["update"][self._end - 1]) if self._end else float("nan")

    @property
    def rate_growth(self) -> float:
        """Largest growth of a group's rate since the step before; NaN if unknown."""
        if self._end < 2:
            return float("nan")
        pairs = [rates[self._end - 2 : self._end] for rates in self._named["rates"].values()]
        grown = [after / before for before, after in pairs if before > 0]
        return float(np.nanmax(grown)) if np.isfinite(grown).any() else float("nan")

    @property
    def restarted(self) -> bool:
        """Whether the window starts where a run restarted."""
        return self._restarted and self._end <= self._window

    def append(self, record: StepRecord) -> None:
        """Add a step; the oldest are dropped when the arrays are full."""
        if self._end == self._norms.shape[1]:
            kept = slice(self._end - self._window, self._end)
            for column in self._every_column():
                column[..., : self._window] = column[..., kept].copy()
            self._end, self._restarted = self._window, False
        at = self._end
        for name, value in _values(record).items():
            self._columns[name][at] = value
        self._set_named("losses", record.loss_items)
        self._set_named("rates", record.lr_by_group)
        self._columns["update"][at], self._columns["update_block"][at] = np.nan, -1
        for norms in (self._norms, self._weights, self._updates):
            norms[:, at] = np.nan
        self._bad[:, at], self._sampled[at] = 0, False
        known = [(self._place[b.block], b) for b in record.blocks if b.block in self._place]
        places = [place for place, _ in known]
        with np.errstate(over="ignore"):
            self._norms[places, at] = [
                float("nan") if b.grad_norm is None else b.grad_norm for _, b in known
            ]
        self._bad[places, at] = [b.nonfinite_count for _, b in known]
        for block, stats in known:
            ratio = stats.update_ratio
            if stats.weight_norm is not None:
                self._weights[block, at], self._sampled[at] = stats.weight_norm, True
            if ratio is not None:
                self._updates[block, at] = ratio
            if ratio is not None and (
                ratio > self._columns["update"][at] or np.isnan(self._columns["update"][at])
            ):
                self._columns["update"][at], self._columns["update_block"][at] = ratio, block
        self._end += 1

    def cut(self, step: int) -> None:
        """Drop the steps from a number on; a rollback to the very start counts as a restart."""
        self._end = int(np.searchsorted(self._columns["step"][: self._end], step))
        self._restarted = self._restarted if self._end else step == 0

    def series(self, events: tuple[SeriesEvent, ...]) -> RunSeries:
        """Return the window as a run, as views where possible."""
        rows = slice(max(0, self._end - self._window), self._end)
        bad = self._bad[:, rows].T
        row, block = np.nonzero(bad)
        sampled = np.flatnonzero(self._sampled[rows])
        return RunSeries(
            names=self._names,
            roles=self._roles,
            **{name: column[rows] for name, column in self._columns.items()},
            losses={name: column[rows] for name, column in self._named["losses"].items()},
            rates={name: column[rows] for name, column in self._named["rates"].items()},
            summed=self._summed,
            block_norm=self._norms[:, rows],
            bad_block=block,
            bad_row=row,
            bad_count=bad[row, block],
            sampled=sampled,
            weight_norm=self._weights[:, rows][:, sampled],
            update_ratio=self._updates[:, rows][:, sampled],
            events=events,
            stop_step=None,
            completed=None,
        )

    def _every_column(self) -> Iterator[Any]:
        yield from self._columns.values()
        yield from (self._norms, self._weights, self._updates, self._bad, self._sampled)
        for columns in self._named.values():
            yield from columns.values()

    def _set_named(self, kind: str, values: Mapping[str, float]) -> None:
        """Set the values of the step in columns that exist from their first value on."""
        columns, at = self._named[kind], self._end
        for name in values:
            if name not in columns:
                columns[name] = np.full(self._norms.shape[1], np.nan)
        for name, column in columns.items():
            column[at] = values.get(name, np.nan)


def _values(record: StepRecord) -> dict[str, Any]:
    """Return the columns of a step except for its updates; unknown values are NaN."""
    nan = float("nan")
    return {
        "step": record.step,
        "loss": record.loss,
        "norm": nan if record.grad_norm is None else record.grad_norm,
        "micro_norm": nan if record.micro_norm is None else record.micro_norm,
        "nonfinite": record.nonfinite,
        "guard": record.skipped == "guard",
        "scaler": record.skipped == "scaler",
        "clip": nan if record.clip_coef is None else record.clip_coef,
        "epoch": record.epoch,
        "attempt": record.attempt,
        "accumulate": record.accumulate,
        "lr": max(record.lr_by_group.values(), default=nan),
        "amp_scale": nan if record.amp_scale is None else record.amp_scale,
        **{name: nan if (value := getattr(record, name)) is None else value for name in OPTIONAL},
    }
