"""What a rule looks at: a run, its own past, its depth, and - where there is one - the control at the same steps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np

from yolo_stability.core.types import RunHeader
from yolo_stability.diagnosis.rolling import highest_before, ratio_of, rolling_median, usual_before
from yolo_stability.trace.arrays import Bools, Floats, Ints, RunSeries, median_of

__all__ = ["DiagnosisContext"]

_WINDOW, _MINIMUM = 128, 8
# steps over which the control's norm is smoothed, so that one low step of it raises no alarm
_SMOOTH = 9
_BLOCK_WINDOW = 8
# a control is held against every run of a suite
_SMOOTHED: WeakKeyDictionary[RunSeries, Floats] = WeakKeyDictionary()


class DiagnosisContext:
    """A run with everything that several rules derive from it, each worked out once.

    Args:
        run: The run; it may have no step at all.
        header: Who it was and with which settings; None where they are not to be used.
        controls: Runs of the control on the same task and model. The run itself may be among them: it is then held
            against its own past only.
        outcome: How its process ended, as `RunResultRow.outcome` has it; None takes what the trace says.
        live: The run goes on: its last step is not its end.
        anew: Its first step is the beginning of a run, whatever its number: a rescue went back to the very start.
    """

    def __init__(
        self,
        run: RunSeries,
        *,
        header: RunHeader | None = None,
        controls: Sequence[RunSeries] = (),
        outcome: str | None = None,
        live: bool = False,
        anew: bool = False,
    ) -> None:
        self.run, self.header, self.outcome, self.live, self._anew = (
            run,
            header,
            outcome,
            live,
            anew,
        )
        self.controls = tuple(c for c in controls if c.step.size)
        self.others = tuple(c for c in self.controls if c is not run)

    @property
    def begins(self) -> bool:
        """Whether the first step that is known is the first that was taken."""
        return bool(self.run.step.size) and (self._anew or self.run.step[0] == 0)

    @cached_property
    def bad(self) -> Bools:
        """(S,) loss or gradients not finite; a frozen model's norm is null, which is no harm."""
        run = self.run
        bad: Bools = ~np.isfinite(run.loss) | (run.nonfinite > 0) | np.isinf(run.norm)
        return bad

    @cached_property
    def usual_norm(self) -> Floats:
        """(S,) median of the gradient norm over the 128 steps before each; NaN until 8 are known."""
        return usual_before(self.run.norm, _WINDOW, _MINIMUM)

    @cached_property
    def usual_loss(self) -> Floats:
        """(S,) the same of the loss."""
        return usual_before(self.run.loss, _WINDOW, _MINIMUM)

    @cached_property
    def lowest_loss(self) -> Floats:
        """(S,) lowest level of the loss before each step: of its running medians over 8 steps; at first its highest.

        A detector that matches hardly any box at first begins with a loss of next to nothing, which then rises as it
        finds its boxes: a few low steps are no level that was reached.
        """
        loss = np.abs(self.run.loss)
        level = np.abs(rolling_median(self.run.loss, _MINIMUM, minimum=_MINIMUM))
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
        """Median of the first 8 finite gradient norms; NaN without any."""
        known = self.run.norm[np.isfinite(self.run.norm)][:_MINIMUM]
        return float(median_of(known)) if known.size else float("nan")

    @cached_property
    def jump(self) -> Floats:
        """(B, S) norm of each block over the largest of the 8 steps before; NaN where that is unknown or 0."""
        norms = self.run.block_norm
        before = highest_before(norms, _BLOCK_WINDOW)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            jump: Floats = np.where(
                (before > 0) & np.isfinite(norms), norms / before, np.float32(np.nan)
            )
        return jump

    @cached_property
    def early(self) -> list[int]:
        """Positions of the backbone's blocks; of all blocks where none has that role."""
        return [i for i, role in enumerate(self.run.roles) if role == "backbone"] or list(
            range(len(self.run.names))
        )

    @cached_property
    def depth(self) -> Floats:
        """(S,) gradient norm of the model's first block over that of its head; NaN where either is unknown or 0."""
        run = self.run
        head = [i for i, role in enumerate(run.roles) if role not in {"backbone", "neck", "other"}]
        if not head or head[0] == 0:
            return np.full(run.step.size, np.nan)
        total = np.zeros(run.step.size)
        with np.errstate(over="ignore"):
            for block in head:  # squares of norms overflow
                total = np.hypot(
                    total, np.nan_to_num(run.block_norm[block].astype(np.float64), nan=0.0)
                )
        return ratio_of(run.block_norm[self.early[0]], total)

    # Against the control

    @cached_property
    def places(self) -> tuple[Ints, ...]:
        """For each control its position at each step of the run; where it had ended, its last."""
        return tuple(
            np.clip(np.searchsorted(c.step, self.run.step, side="right") - 1, 0, None)
            for c in self.controls
        )

    @cached_property
    def expected_norm(self) -> Floats:
        """(S,) norm of the other controls at the same step, smoothed; NaN without any."""
        pairs = [
            (c, p) for c, p in zip(self.controls, self.places, strict=True) if c is not self.run
        ]
        if not pairs:
            return np.full(self.run.step.size, np.nan)
        smooth = [_smoothed(c)[place] for c, place in pairs]
        return np.atleast_1d(median_of(np.stack(smooth), axis=0))

    def block_ratio(self, block: int, rows: slice) -> Floats:
        """Return the norm of a block over the control's at some steps; NaN where either is unknown or 0."""
        name, expected = self.run.names[block], []
        for control, place in zip(self.controls, self.places, strict=True):
            if name in control.names:
                expected.append(control.block_norm[control.names.index(name), place[rows]])
        own = self.run.block_norm[block, rows].astype(np.float64)
        if not expected:
            return np.full(own.shape, np.nan)
        return ratio_of(own, median_of(np.stack(expected), axis=0))

    # In words

    def step_at(self, row: int) -> int:
        """Return the number of the step at a position; 0 for a run without steps."""
        return int(self.run.step[row]) if self.run.step.size else 0

    def block_of(self, row: int) -> str | None:
        """Return the block in which trouble at a position began, if one stands out.

        Where some of the blocks hold non-finite numbers it is the deepest of them, since backward runs towards the
        input; where all do at once, the last steps at which they were finite tell more: it is then the block farthest
        from the control, or from its own past.
        """
        run = self.run
        bad = np.unique(run.bad_block[run.bad_row == row])
        if bad.size and (bad.size < len(run.names) or bad.size == 1):
            return run.names[int(bad[-1])]
        finite = np.flatnonzero(np.isfinite(run.norm[: row + 1]) & (run.norm[: row + 1] > 0))
        if not finite.size:
            return None
        row = int(finite[-1])
        ratios = np.array([self._against(block, row) for block in range(len(run.names))])
        distance = np.abs(np.log(np.where(ratios > 0, ratios, np.nan)))
        known = np.flatnonzero(distance > 0)
        return run.names[int(known[np.argmax(distance[known])])] if known.size else None

    def _against(self, block: int, row: int) -> float:
        """Return a block's norm over the control's; over its own past where the control does not know the block."""
        run = self.run
        ratio = float(self.block_ratio(block, slice(row, row + 1))[0])
        if not np.isnan(ratio) and self.others:
            return ratio
        past = run.block_norm[block, max(0, row - _WINDOW) : row]
        return float(ratio_of(run.block_norm[block, row : row + 1], median_of(past))[0])


def _smoothed(control: RunSeries) -> Floats:
    """Return the smoothed gradient norm of a control."""
    if control not in _SMOOTHED:
        _SMOOTHED[control] = rolling_median(control.norm, _SMOOTH, center=True)
    return _SMOOTHED[control]
