"""Data that rules read: a run, its history and depth, and the control at the same steps, if any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from yolo_stability.core.findings import End
from yolo_stability.core.types import RunHeader
from yolo_stability.diagnosis.incidents import IncidentFacts, incidents_of
from yolo_stability.diagnosis.rolling import highest_before, ratio_of, rolling_median, usual_before
from yolo_stability.trace.arrays import (
    Bools,
    EpochSeries,
    Floats,
    Ints,
    Norms,
    RunSeries,
    median_of,
)

__all__ = ["DiagnosisContext"]

_WINDOW, _MINIMUM = 128, 8
# steps over which the control's norm is smoothed, so that one low step of it raises no alarm
_SMOOTH = 9
_BLOCK_WINDOW = 8
# 7.5 times (1 - IoU): a mean IoU above 0.97 on training images means that hardly a box was matched
_UNMATCHED = 0.2
# a control is held against every run of a suite
_SMOOTHED: WeakKeyDictionary[RunSeries, Floats] = WeakKeyDictionary()


class DiagnosisContext:
    """A run with the derived quantities that several rules use, each computed once.

    Args:
        run: The run; it may have no steps.
        header: Its header with the settings; None if they are not to be used.
        controls: Runs of the control on the same task and model. If the run itself is among them,
            it is compared only with its own history.
        outcome: How its process ended, as in `RunResultRow.outcome`; None to use the trace.
        live: Whether the run is still in progress: its last step is not its end.
        restarted: Whether its first step is the start of a run, whatever its number: a rescue
            rolled back to the start.
        stock: Whether it is a run without a trace, of which each step is an epoch of `results.csv`.
        incidents: Incidents of the run, in order; None for those among its events.
        facts: Settings of a run without a header, such as those in `args.yaml`.
        end: How a run without a trace ended; None if that is unknown.
        running: Whether a process is still writing the run.
    """

    def __init__(  # noqa: PLR0913 - one parameter per thing known about a run
        self,
        run: RunSeries,
        *,
        header: RunHeader | None = None,
        controls: Sequence[RunSeries] = (),
        outcome: str | None = None,
        live: bool = False,
        restarted: bool = False,
        stock: bool = False,
        incidents: Sequence[IncidentFacts] | None = None,
        facts: Mapping[str, Any] | None = None,
        end: End | None = None,
        running: bool = False,
    ) -> None:
        self.run, self.header, self.outcome, self.live, self._restarted = (
            run,
            header,
            outcome,
            live,
            restarted,
        )
        self.stock, self._facts, self.end, self.running = stock, facts or {}, end, running
        self._incidents = incidents
        self.controls = tuple(c for c in controls if c.step.size)
        self.others = tuple(c for c in self.controls if c is not run)

    @property
    def begins(self) -> bool:
        """Whether the first recorded step is the first step of the run."""
        return bool(self.run.step.size) and (self._restarted or self.run.step[0] == 0)

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """Settings of the run, the effective ones first; empty where they are not to be used."""
        if self.header is None:
            return self._facts
        return {**self.header.requested, **self.header.effective}

    @property
    def epochs(self) -> EpochSeries:
        """Epochs of the run with their validations."""
        return self.run.epochs

    @cached_property
    def incidents(self) -> tuple[IncidentFacts, ...]:
        """Explained bad steps of the run, in order."""
        given = self._incidents
        return incidents_of(self.run.events) if given is None else tuple(given)

    @cached_property
    def bad(self) -> Bools:
        """(S,) loss or gradients not finite; the null norm of a frozen model does not count."""
        run = self.run
        bad: Bools = ~np.isfinite(run.loss) | (run.nonfinite > 0) | np.isinf(run.norm)
        return bad

    @cached_property
    def per_usual_batch(self) -> Floats:
        """(S,) factor that scales a gradient to the usual number of images; 1 where unknown.

        The gradient of a loss that sums over images grows with them: a smaller last batch of an
        epoch, or the accumulation that grows in a warm-up, is no swing of the gradient.
        """
        return _per_usual_batch(self.run)

    @cached_property
    def norm(self) -> Floats:
        """(S,) gradient norm, scaled to the usual number of images of a step."""
        return self.run.norm * self.per_usual_batch

    @cached_property
    def block_norm(self) -> Norms:
        """(B, S) gradient norm of each block, scaled in the same way."""
        if not self.run.summed:
            return self.run.block_norm
        return self.run.block_norm * self.per_usual_batch.astype(self.run.block_norm.dtype)

    @cached_property
    def usual_norm(self) -> Floats:
        """(S,) median of `norm` over the 128 steps before each; NaN until 8 are known."""
        return usual_before(self.norm, _WINDOW, _MINIMUM)

    @cached_property
    def usual_loss(self) -> Floats:
        """(S,) the same for the loss."""
        return usual_before(self.run.loss, _WINDOW, _MINIMUM)

    @cached_property
    def lowest_loss(self) -> Floats:
        """(S,) lowest running median of the loss before each step; at first the highest loss.

        A detector that matches hardly any box at first starts with a loss near 0, which then rises
        as it finds its boxes: a few low steps are not a level that was reached, nor are those in
        which the loss of the boxes was lower than any detector gets it.
        """
        loss = np.abs(self.run.loss)
        level = np.abs(rolling_median(self.run.loss, _MINIMUM, minimum=_MINIMUM))
        boxes = self.run.losses.get("box_loss")
        if boxes is not None:
            level[rolling_median(boxes, _MINIMUM, minimum=_MINIMUM) < _UNMATCHED] = np.nan
        lowest = np.minimum.accumulate(np.where(np.isfinite(level), level, np.inf))
        highest = np.maximum.accumulate(np.where(np.isfinite(loss), loss, -np.inf))
        before = np.full(loss.size, np.nan)
        before[1:] = np.where(np.isfinite(lowest), lowest, highest)[:-1]
        return np.where(np.isfinite(before), before, np.nan)

    @cached_property
    def first_loss(self) -> float:
        """Magnitude of the first finite loss; NaN without any."""
        known = self.run.loss[np.isfinite(self.run.loss)]
        return abs(float(known[0])) if known.size else float("nan")

    @cached_property
    def first_norm(self) -> float:
        """Median of the first 8 finite values of `norm`; NaN without any."""
        known = self.norm[np.isfinite(self.norm)][:_MINIMUM]
        return float(median_of(known)) if known.size else float("nan")

    @cached_property
    def jump(self) -> Floats:
        """(B, S) norm of each block over its maximum of the 8 steps before; NaN if unknown or 0."""
        norms = self.block_norm
        before = highest_before(norms, _BLOCK_WINDOW)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            jump: Floats = np.where(
                (before > 0) & np.isfinite(norms), norms / before, np.float32(np.nan)
            )
        return jump

    @cached_property
    def early(self) -> list[int]:
        """Positions of the backbone's blocks; all blocks if none has that role."""
        return [i for i, role in enumerate(self.run.roles) if role == "backbone"] or list(
            range(len(self.run.names))
        )

    @cached_property
    def depth(self) -> Floats:
        """(S,) gradient norm of the first block over that of the head; NaN if unknown or 0."""
        run = self.run
        head = [i for i, role in enumerate(run.roles) if role not in {"backbone", "neck", "other"}]
        if not head or head[0] == 0:
            return np.full(run.step.size, np.nan)
        total = np.zeros(run.step.size)
        with np.errstate(over="ignore"):
            for block in head:  # hypot, since squares of norms may overflow
                total = np.hypot(
                    total, np.nan_to_num(run.block_norm[block].astype(np.float64), nan=0.0)
                )
        return ratio_of(run.block_norm[self.early[0]], total)

    # Against the control

    @cached_property
    def places(self) -> tuple[Ints, ...]:
        """For each control its position at each step of the run; its last one after its end."""
        return tuple(
            np.clip(np.searchsorted(c.step, self.run.step, side="right") - 1, 0, None)
            for c in self.controls
        )

    @cached_property
    def expected_norm(self) -> Floats:
        """(S,) smoothed norm of the other controls at the same step; NaN without any."""
        pairs = [
            (c, p) for c, p in zip(self.controls, self.places, strict=True) if c is not self.run
        ]
        if not pairs:
            return np.full(self.run.step.size, np.nan)
        smooth = [_smoothed(c)[place] for c, place in pairs]
        return np.atleast_1d(median_of(np.stack(smooth), axis=0))

    def block_ratio(self, block: int, rows: slice) -> Floats:
        """Return the norm of a block over the control's at some steps; NaN if unknown or 0."""
        name, expected = self.run.names[block], []
        for control, place in zip(self.controls, self.places, strict=True):
            if name in control.names:
                factor = _per_usual_batch(control)[place[rows]]
                expected.append(control.block_norm[control.names.index(name), place[rows]] * factor)
        own = self.block_norm[block, rows].astype(np.float64)
        if not expected:
            return np.full(own.shape, np.nan)
        return ratio_of(own, median_of(np.stack(expected), axis=0))

    # For messages

    def step_at(self, row: int) -> int:
        """Return the step number at a position; 0 for a run without steps."""
        return int(self.run.step[row]) if self.run.step.size else 0

    def block_of(self, row: int) -> str | None:
        """Return the block in which trouble at a position started, if it can be identified.

        An incident at that step has located it. If some of the blocks contain non-finite numbers,
        it is the deepest of them, since backward runs towards the input. If all do, the last finite
        step is more informative: it is then the block farthest from the control, or from its own
        history.
        """
        run, step = self.run, self.step_at(row)
        located = (i.block for i in self.incidents if i.step == step and i.located)
        known = next(located, None)
        if known is not None:
            return known
        bad = np.unique(run.bad_block[run.bad_row == row])
        if bad.size and (bad.size < len(run.names) or bad.size == 1):
            return run.names[int(bad[-1])]
        finite = np.flatnonzero(np.isfinite(run.norm[: row + 1]) & (run.norm[: row + 1] > 0))
        if not finite.size:
            return None
        row = int(finite[-1])
        ratios = np.array([self._against(block, row) for block in range(len(run.names))])
        distance = np.abs(np.log(np.where(ratios > 0, ratios, np.nan)))
        far = np.flatnonzero(distance > 0)
        return run.names[int(far[np.argmax(distance[far])])] if far.size else None

    def _against(self, block: int, row: int) -> float:
        """Return a block's norm over the control's, or over its own history without a control."""
        ratio = float(self.block_ratio(block, slice(row, row + 1))[0])
        if not np.isnan(ratio) and self.others:
            return ratio
        past = self.block_norm[block, max(0, row - _WINDOW) : row]
        return float(ratio_of(self.block_norm[block, row : row + 1], median_of(past))[0])


def _smoothed(control: RunSeries) -> Floats:
    """Return the smoothed gradient norm of a control."""
    if control not in _SMOOTHED:
        norm = control.norm * _per_usual_batch(control)
        _SMOOTHED[control] = rolling_median(norm, _SMOOTH, center=True)
    return _SMOOTHED[control]


def _per_usual_batch(run: RunSeries) -> Floats:
    """Return the usual number of images of a step over those of each step; 1 where unknown."""
    known = run.images[run.images > 0] if run.summed else run.images[:0]
    if not known.size:
        return np.ones(run.step.size)
    return np.nan_to_num(ratio_of(np.full(run.step.size, np.median(known)), run.images), nan=1.0)
