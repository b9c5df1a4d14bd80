"""Builds the record of a step from what was measured, and completes it with what arrives later."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yolo_stability.compat.ultralytics import group_names
from yolo_stability.core.types import BlockSpec, BlockStats, Skip, StepRecord
from yolo_stability.gradients.norms import to_host
from yolo_stability.gradients.optimizers import momentum
from yolo_stability.gradients.updates import NOTHING, with_update_ratios
from yolo_stability.guard.outcome import Outcome
from yolo_stability.trainer.step.gradient_reading import GradientReader, Reading
from yolo_stability.trainer.step.journal import Journal
from yolo_stability.trainer.step.loop_state import LoopState

__all__ = ["GroupRates", "RecordKeeper", "StepPlace", "skip_details", "worst_block"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlace:
    """Where in a run a step was.

    Attributes:
        attempt: Attempt.
        step: Optimizer step.
        iteration: Its last iteration.
        accumulate: Iterations whose gradients it sums up.
    """

    attempt: int
    step: int
    iteration: int
    accumulate: int


class GroupRates:
    """Learning rate of each parameter group by name; the names are worked out once an optimizer."""

    def __init__(self) -> None:
        self._named: tuple[torch.optim.Optimizer, list[str]] | None = None

    def of(self, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        """Return the present learning rates.

        Args:
            optimizer: The optimizer; a restart makes a new one.
        """
        if self._named is None or self._named[0] is not optimizer:
            self._named = (optimizer, group_names(optimizer))
        return {
            n: float(g["lr"]) for n, g in zip(self._named[1], optimizer.param_groups, strict=True)
        }


def step_record(
    state: LoopState,
    blocks: tuple[BlockSpec, ...],
    reading: Reading,
    place: StepPlace,
    rates: GroupRates,
    skipped: Skip | None,
    seconds: float,
) -> StepRecord:
    """Return the record of a step, without what is still on the device.

    Args:
        state: The training.
        blocks: Its blocks.
        reading: What was measured.
        place: Where in the run.
        rates: Reads the learning rates.
        skipped: Who left the step out, if anybody did.
        seconds: Since the step before.
    """
    norms = zip(blocks, reading.block_norms, reading.block_nonfinite, strict=True)
    return StepRecord(
        attempt=place.attempt,
        step=place.step,
        iteration=place.iteration,
        epoch=state.epoch,
        accumulate=place.accumulate,
        loss=reading.signs.loss,
        loss_items=reading.loss_items,
        lr_by_group=rates.of(state.optimizer),
        momentum=momentum(state.optimizer),
        grad_norm=reading.grad_norm,
        clip_coef=None if skipped == "guard" else none_if_nan(reading.clip_coef),
        amp_scale=reading.amp_scale,
        skipped=skipped,
        nonfinite=reading.signs.nonfinite_gradients,
        seconds=seconds,
        blocks=tuple(
            BlockStats(block=b.name, grad_norm=norm, nonfinite_count=bad) for b, norm, bad in norms
        ),
        micro_norm=none_if_nan(reading.micro_norm),
    )


def none_if_nan(value: float | None) -> float | None:
    """Return the value, or None where it is NaN."""
    return None if value is None or math.isnan(value) else value


def skip_details(reading: Reading, reason: str, in_a_row: int) -> dict[str, Any]:
    """Return the details of the event of a step that the guard skipped.

    Args:
        reading: What its gradients looked like.
        reason: Why it was skipped.
        in_a_row: Skips in a row, this one included.
    """
    return {
        "reason": reason,
        "nonfinite": reading.signs.nonfinite_gradients,
        "blocks": sum(n > 0 for n in reading.block_nonfinite),
        "in_a_row": in_a_row,
    }


def worst_block(blocks: tuple[BlockSpec, ...], reading: Reading) -> str | None:
    """Return the one block whose gradient is not finite, or None when several are (the trouble spread) or none."""
    bad = [
        block.name for block, count in zip(blocks, reading.block_nonfinite, strict=True) if count
    ]
    return bad[0] if len(bad) == 1 else None


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
        if record is None:
            return
        if len(coefficient):
            record = replace(record, clip_coef=none_if_nan(float(coefficient[0])))
        index, positions = self._reader.index, self._positions
        self._receive(with_update_ratios(record, index, positions, weights, deltas))

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
