"""One record a step, handed over once it is complete: part of it arrives with the transfer of the next step."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from yolo_stability.core.types import Skip, StepRecord
from yolo_stability.gradients.norms import to_host
from yolo_stability.gradients.updates import NOTHING
from yolo_stability.guard.outcome import Outcome
from yolo_stability.trainer.step.gradient_reader import GradientReader
from yolo_stability.trainer.step.gradient_reading import Reading
from yolo_stability.trainer.step.journal import Journal
from yolo_stability.trainer.step.loop_state import LoopState
from yolo_stability.trainer.step.records import (
    GroupRates,
    StepPlace,
    completed,
    step_record,
    worst_block,
)

__all__ = ["RecordKeeper"]


class RecordKeeper:
    """Builds the record of each step, and holds the latest one until its update ratio arrives.

    Args:
        state: The training.
        reader: What measures its gradients.
        journal: Where the run is.
        positions: Block position of each sampled tensor, shape (n,).
        receive: Takes each record.

    Attributes:
        deferred: Vectors of the latest step that are still on the device: weight norms, updates, clip coefficient.
        outcome: Whether the run has failed without any NaN.
    """

    def __init__(
        self,
        state: LoopState,
        reader: GradientReader,
        journal: Journal,
        positions: NDArray[np.int64],
        receive: Callable[[StepRecord], None],
    ) -> None:
        self._state, self._reader, self._journal = state, reader, journal
        self._positions, self._receive = positions, receive
        self.deferred: tuple[Tensor, Tensor, Tensor] = (NOTHING, NOTHING, NOTHING)
        self.outcome = Outcome()
        self._held: StepRecord | None = None
        self._rates = GroupRates()
        self._clock = time.perf_counter()

    def applied(self, reading: Reading) -> bool:
        """Record a step that the guard let pass; return whether the AMP scaler did, too."""
        overflowed = reading.signs.scaler_enabled and reading.signs.nonfinite_gradients > 0
        self.add(reading, "scaler" if overflowed else None)
        if overflowed:
            block = worst_block(self._reader.blocks, reading)
            self._journal.emit("scaler_skip", block, {"scale": reading.amp_scale})
        return not overflowed

    def add(self, reading: Reading, skipped: Skip | None) -> None:
        """Build the record of the present step and hand it over, or hold it until its update ratio arrives.

        Args:
            reading: What was measured.
            skipped: Who left the step out, if anybody did.
        """
        now = time.perf_counter()
        record = step_record(
            self._state,
            self._reader.blocks,
            reading,
            self._place(),
            self._rates,
            skipped,
            now - self._clock,
        )
        self._clock = now
        self._reader.window.clear()
        if any(len(vector.reshape(-1)) for vector in self.deferred):
            self._held = record
        else:
            self._receive(record)

    def complete(
        self,
        weights: NDArray[np.float64],
        deltas: NDArray[np.float64],
        coefficient: NDArray[np.float64],
    ) -> None:
        """Add what was still on the device to the held record and hand it over."""
        record, self._held = self._held, None
        self.deferred = (NOTHING, NOTHING, NOTHING)
        if record is not None:
            index = self._reader.index
            self._receive(completed(record, index, self._positions, weights, deltas, coefficient))

    def flush(self) -> None:
        """Hand over the record that still waits for its update ratio."""
        if self._held is not None:
            self.complete(*to_host(*self.deferred))

    def _place(self) -> StepPlace:
        """Return where in the run the present step is."""
        journal = self._journal
        return StepPlace(
            attempt=journal.attempt,
            step=journal.step,
            iteration=journal.iteration,
            accumulate=max(self._reader.window.iterations, 1),
        )
