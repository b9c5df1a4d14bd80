"""Live rules: evaluated synchronously on the last 512 steps, so that timing has no effect.

A rule's result on a window equals its result on the trace up to that step, except for older
history. A window that includes the run's first steps knows its start; later windows rely on their
own history.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from yolo_stability.core.actions import Action, Ending
from yolo_stability.core.findings import Finding
from yolo_stability.core.types import BlockSpec, Event, RunHeader, StepRecord
from yolo_stability.diagnosis.base import Rule
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.diagnose import find_all
from yolo_stability.diagnosis.rules import RULES
from yolo_stability.trace.arrays import Floats, RunSeries, SeriesEvent

__all__ = ["LiveRules"]

_WINDOW = 512
_EVERY = 16
_YOUNG = 64
_BUILT_IN = {"vanishing"}
_LEAPT = 2.5  # a rate that grows faster than any warm-up after its second step: the same
_OPTIONAL = ("images", "objects", "input_min", "input_max", "input_mean", "input_std")
_REPLACED = 1.0  # an update as large as the weights: evaluate immediately
_FORERUNNER = "update_ratio"  # the first finding in every run that failed after a finite step
_RANK = {"info": 0, "warning": 1, "critical": 2}


class LiveRules:
    """Follows a run and reports each finding once, and again if its severity increases.

    Args:
        every: Interval of evaluation in steps, a quarter of it in the first 64 steps; a step that
            is not finite, replaces the weights or takes a rate that has leapt triggers an
            evaluation immediately.
        window: Maximum number of steps that the rules see.
    """

    def __init__(self, every: int = _EVERY, window: int = _WINDOW) -> None:
        self._every, self._window = every, window
        self._events: deque[SeriesEvent] = deque(maxlen=64)
        self._reported: dict[str, int] = {}
        self._rules: Sequence[Rule] = [rule for rule in RULES.make_all() if rule.unsettles]
        self._rows: _Rows | None = None
        self._header: RunHeader | None = None
        self._since = self._seen = 0
        self._unhealthy = self._doubtful = -1
        self.found: tuple[Finding, ...] = ()

    @property
    def unhealthy_step(self) -> int:
        """Last step affected by a critical finding about the run's state; -1 without any.

        Vanishing does not count: a badly built network is equally bad at every step.
        """
        return self._unhealthy

    @property
    def doubtful_step(self) -> int:
        """Last step with a finding about large updates, or a critical one; -1 without any."""
        return max(self._unhealthy, self._doubtful)

    @property
    def context(self) -> DiagnosisContext | None:
        """The window and the run's settings for the rules; None before the first step."""
        if self._rows is None or not self._seen:
            return None
        return DiagnosisContext(
            self._rows.series(tuple(self._events)),
            header=self._header,
            live=True,
            restarted=self._rows.restarted,
        )

    def open(self, blocks: Sequence[BlockSpec], header: RunHeader | None = None) -> None:
        """Start a run, or a further session of one.

        Args:
            blocks: Blocks that the records will contain.
            header: Header of the run, for the ranking of causes.
        """
        self._header = header
        names, roles = tuple(block.name for block in blocks), tuple(block.role for block in blocks)
        self._rows = _Rows(names, roles, self._window)
        self._events.clear()
        self._reported.clear()
        self._since = self._seen = 0

    def event(self, event: Event) -> None:
        """Process an event."""
        if event.kind not in {"notice", "finding"}:
            self._events.append(
                SeriesEvent(kind=event.kind, step=event.step, block=event.block, data=event.data)
            )

    def observe(self, record: StepRecord) -> tuple[Finding, ...]:
        """Process a step; return new findings.

        Args:
            record: The complete step.
        """
        if self._rows is None:
            return ()
        self._rows.append(record)
        self._since, self._seen = self._since + 1, self._seen + 1
        due = max(1, self._every // 4) if self._seen <= _YOUNG else self._every
        alarm = (
            record.skipped == "guard"
            or not np.isfinite(record.loss)
            or self._rows.last_update > _REPLACED
            or self._rows.rate_growth > _LEAPT
        )
        return self.ask() if self._since >= due or alarm else ()

    def ask(self) -> tuple[Finding, ...]:
        """Evaluate the rules now; return new findings."""
        if self._rows is None or not self._seen:
            return ()
        self._since = 0
        context = self.context
        assert context is not None
        findings = find_all(context, self._rules)
        self.found = findings
        last = [
            f.last_step for f in findings if f.severity == "critical" and f.rule not in _BUILT_IN
        ]
        self._unhealthy = max(self._unhealthy, *(step for step in last if step is not None), -1)
        doubts = [f.last_step for f in findings if f.rule == _FORERUNNER]
        self._doubtful = max(self._doubtful, *(step for step in doubts if step is not None), -1)
        return tuple(self._new(findings))

    def undone(self, restored: int) -> None:
        """Discard undone steps: a state was restored, and later steps no longer count.

        Args:
            restored: Number of steps that had been taken at that state.
        """
        if self._rows is not None:
            self._rows.cut(restored)
        self._events.clear()
        self._reported.clear()
        self.found = ()
        self._since = 0

    def decide(self) -> Action | Ending | None:
        """Return the action to take; these rules only report."""
        return None

    def _new(self, findings: Sequence[Finding]) -> Iterator[Finding]:
        for finding in findings:
            rank = _RANK[finding.severity]
            if rank > self._reported.get(finding.rule, 0):
                self._reported[finding.rule] = rank
                yield finding


class _Rows:
    """The last steps in arrays of twice the window, so that adding a step copies rarely."""

    def __init__(self, names: tuple[str, ...], roles: tuple[str, ...], window: int) -> None:
        self._names, self._roles, self._window = names, roles, window
        self._place = {name: i for i, name in enumerate(names)}
        size = 2 * window
        whole = ("step", "nonfinite", "epoch", "attempt", "accumulate", "update_block")
        self._columns: dict[str, Any] = {name: np.zeros(size, dtype=np.int64) for name in whole}
        self._columns |= {
            name: np.zeros(size)
            for name in ("loss", "norm", "micro_norm", "clip", "lr", "amp_scale", "update")
        }
        self._columns |= {name: np.zeros(size, dtype=bool) for name in ("guard", "scaler")}
        self._columns |= {name: np.full(size, np.nan) for name in _OPTIONAL}
        self._rates: dict[str, Floats] = {}
        self._losses: dict[str, Floats] = {}
        self._norms, self._weights, self._updates = (
            np.full((len(names), size), np.nan, dtype=np.float32) for _ in range(3)
        )
        self._bad = np.zeros((len(names), size), dtype=np.int64)
        self._sampled = np.zeros(size, dtype=bool)
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
        pairs = [rates[self._end - 2 : self._end] for rates in self._rates.values()]
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
            named = (*self._columns.values(), *self._rates.values(), *self._losses.values())
            for array in (
                *named,
                self._norms,
                self._weights,
                self._updates,
                self._bad,
                self._sampled,
            ):
                array[..., : self._window] = array[..., kept].copy()
            self._end, self._restarted = self._window, False
        at = self._end
        for name, value in _values(record).items():
            self._columns[name][at] = value
        _set_named(self._rates, record.lr_by_group, at, self._norms.shape[1])
        _set_named(self._losses, record.loss_items, at, self._norms.shape[1])
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
            block_norm=self._norms[:, rows],
            bad_block=block,
            bad_row=row,
            bad_count=bad[row, block],
            losses={name: values[rows] for name, values in self._losses.items()},
            rates={name: values[rows] for name, values in self._rates.items()},
            sampled=sampled,
            weight_norm=self._weights[:, rows][:, sampled],
            update_ratio=self._updates[:, rows][:, sampled],
            events=events,
            stop_step=None,
            completed=None,
        )


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
        **{name: nan if (value := getattr(record, name)) is None else value for name in _OPTIONAL},
    }


def _set_named(columns: dict[str, Floats], values: Mapping[str, float], at: int, size: int) -> None:
    """Set values by name at a position; a new name starts a column, a missing one leaves NaN."""
    for name in values:
        if name not in columns:
            columns[name] = np.full(size, np.nan)
    for name, column in columns.items():
        column[at] = values.get(name, np.nan)
