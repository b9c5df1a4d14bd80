"""Leaps of the learning rate: growth that neither warm-up nor schedule explains, by group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.rolling import ratio_of
from yolo_stability.diagnosis.schedule import StockSchedule, is_bias
from yolo_stability.trace.arrays import Bools, Floats, RunSeries

__all__ = ["Leap", "find_leaps"]

_GROWN = 2.0  # a warm-up at most doubles a rate from one step to the next, except at its start
_SAME = 0.05  # relative error of a rate that follows the schedule
_FALLEN = 0.2  # extrapolating a falling rate further than this is too uncertain
_SETTLING = 3  # steps after a restart whose rates are only compared with the highest one before
_YOUNG = 16  # first steps in which an unknown schedule may warm up in stairs of any height
_BOUNDARIES = {"rescue", "rollback", "nan_recovery", "oom_restart", "resume"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Leap:
    """One step at which the rate of at least one group leapt.

    Attributes:
        row: Position of the step.
        factors: Growth of each of those groups beyond what warm-up and schedule call for.
        known: Groups that only returned to a rate they had before, or, in a plain loop, to the
            configured one.
        plain: Whether the run is a plain loop, whose schedule is unknown.
    """

    row: int
    factors: Mapping[str, float]
    known: frozenset[str]
    plain: bool

    @property
    def factor(self) -> float:
        """The largest growth of a group."""
        return max(self.factors.values())


def find_leaps(context: DiagnosisContext, limit: float) -> list[Leap]:
    """Return the leaps of a run, in order.

    Each group is compared with its own previous step. What warm-up and schedule call for follows
    from the settings where the rates up to then agree with them, up to a constant factor; otherwise
    a line through the two previous steps predicts the next, since a warm-up is linear.

    Args:
        context: The run.
        limit: Growth beyond the expected rate that counts as a leap.

    Example:
        >>> from yolo_stability.diagnosis.examples import healthy_run, with_rows
        >>> run = with_rows(healthy_run(), slice(40, None), lr=2.5)
        >>> [(leap.row, round(leap.factor)) for leap in find_leaps(DiagnosisContext(run), 3.0)]
        [(40, 500)]
    """
    run = context.run
    rates = run.rates or {"all groups": run.lr}
    rows = {name: _candidates(values, run) for name, values in rates.items()}
    if not any(found.size for found in rows.values()):
        return []
    expectation = _Expectation(context)
    factors: dict[int, dict[str, float]] = {}
    known: dict[int, set[str]] = {}
    for name, found in rows.items():
        for row in found if found.size else ():
            expected = expectation.of(name, rates[name], int(row))
            if not expected > 0 or not rates[name][row] > limit * expected:
                continue
            factors.setdefault(int(row), {})[name] = float(ratio_of(rates[name][row], expected))
            if expectation.knows(name, rates[name], int(row)):
                known.setdefault(int(row), set()).add(name)
    return [
        Leap(
            row=row,
            factors=factors[row],
            known=frozenset(known.get(row, ())),
            plain=expectation.plain,
        )
        for row in sorted(factors)
    ]


def _candidates(rates: Floats, run: RunSeries) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Return the positions at which a rate grew; the first step of a resumed session counts."""
    grown = np.zeros(rates.size, dtype=bool)
    with np.errstate(invalid="ignore", over="ignore"):
        grown[1:] = np.isfinite(rates[1:]) & (rates[1:] > _GROWN * rates[:-1]) & (rates[:-1] >= 0)
    if rates.size and any(e.kind == "resume" and e.step == run.step[0] for e in run.events):
        grown[0] = bool(np.isfinite(rates[0]))
    return np.flatnonzero(grown)


class _Expectation:
    """What the previous steps, the warm-up and the schedule let a rate be."""

    def __init__(self, context: DiagnosisContext) -> None:
        run = self._run = context.run
        self._schedule = StockSchedule.of(context.header)
        self._stock: dict[str, Floats] = {}
        self._peaks: dict[str, Floats] = {}
        self._boundary = _boundaries(run)
        self._settling = _settling(run, self._boundary)
        young = np.append(np.flatnonzero(self._boundary[: _YOUNG + 1]), _YOUNG + 1)
        self._unknown = int(young[0]) if context.begins else 0
        effective = context.header.effective if context.header else {}
        self.plain = context.header is not None and "task" not in effective
        groups = effective.get("groups") or {} if self.plain else {}
        self._configured = {name: float(g.get("lr", 0.0)) for name, g in groups.items()}
        if self._schedule:
            self._place, self._bias = self._schedule.warmup_place(run)
            # the number of batches is another after the batch size was halved
            halved = [e.step for e in run.events if e.kind == "oom_restart"]
            self._valid = run.step < min(halved, default=np.iinfo(np.int64).max)

    def of(self, group: str, rates: Floats, row: int) -> float:
        """Return the largest rate that is expected at a step; NaN if unknown."""
        stock = self._rates(group)
        if row == 0:
            return float(stock[0])
        scale = self._scale(stock, rates, row - 1)
        if np.isfinite(scale) and np.isfinite(stock[row]):
            return float(scale * stock[row])
        before = float(rates[row - 1])
        if row < self._unknown:
            return float("nan")
        if self._settling[row]:
            return float(np.nanmax(rates[:row], initial=before))
        return _extrapolated(rates, self._run, row) if before > 0 else float("nan")

    def knows(self, group: str, rates: Floats, row: int) -> bool:
        """Return whether a group had a rate before, or was configured with it in a plain loop."""
        highest = max(float(self._peak(group, rates)[row]), self._configured.get(group, 0.0))
        return bool(rates[row] <= (1 + _SAME) * highest)

    def _rates(self, group: str) -> Floats:
        if group not in self._stock:
            rates = np.full(self._run.step.size, np.nan)
            if self._schedule:
                stock = self._schedule.rates(group, self._run, self._place, self._bias)
                rates = np.where(self._valid, stock, np.nan)
            self._stock[group] = rates
        return self._stock[group]

    def _scale(self, stock: Floats, rates: Floats, row: int) -> float:
        """Return the constant factor between the rates up to a step and the schedule, or NaN."""
        if stock[row] == 0 and rates[row] == 0:
            return 1.0  # the very start of a warm-up
        scale = float(rates[row] / stock[row]) if stock[row] > 0 else float("nan")
        if abs(scale - 1) < _SAME:
            return scale
        if row > 0 and not self._boundary[row] and stock[row - 1] > 0:
            earlier = float(rates[row - 1] / stock[row - 1])
            if earlier > 0 and abs(scale / earlier - 1) < _SAME:
                return scale
        return float("nan")

    def _peak(self, group: str, rates: Floats) -> Floats:
        """Return the highest rate before each step, without the initial rates of biases."""
        if group not in self._peaks:
            usable = np.isfinite(rates)
            if is_bias(group):
                if self._schedule:
                    usable &= self._place > self._schedule.warmup
                else:
                    rising = np.flatnonzero(np.diff(rates) >= 0)
                    usable[: int(rising[0]) if rising.size else rates.size] = False
            highest = np.maximum.accumulate(np.where(usable, rates, 0.0))
            self._peaks[group] = np.concatenate(([0.0], highest[:-1]))
        return self._peaks[group]


def _extrapolated(rates: Floats, run: RunSeries, row: int) -> float:
    """Return the rate on a line through the two steps before; at least the last if it rises."""
    before = float(rates[row - 1])
    if row < 2 or not np.isfinite(rates[row - 2]):
        return before
    done, due = float(max(run.accumulate[row - 1], 1)), float(max(run.accumulate[row], 1))
    line = before + (before - float(rates[row - 2])) * due / done
    return line if line > _FALLEN * before else before


def _boundaries(run: RunSeries) -> Bools:
    """Return the steps before which a session, a recovery or a rescue changed the state."""
    boundary: Bools = np.diff(run.attempt, prepend=run.attempt[:1]) != 0
    for event in run.events:
        if event.kind in _BOUNDARIES:
            row = int(np.searchsorted(run.step, event.step))
            if row < run.step.size:
                boundary[row] = True
    return boundary


def _settling(run: RunSeries, boundary: Bools) -> Bools:
    """Return the steps whose rates may rise to an earlier one: after a boundary or a rewarm."""
    settling = np.zeros(run.step.size, dtype=bool)
    for start in np.flatnonzero(boundary):
        settling[start : start + _SETTLING] = True
    done = np.cumsum(run.accumulate)
    for event in run.events:
        if event.kind == "rescue" and event.data.get("remedy") == "rewarm":
            row = int(np.searchsorted(run.step, event.step))
            if row < run.step.size:
                length = float(event.data.get("value") or 0)
                settling[row:] |= done[row:] - done[row] <= length
    return settling
