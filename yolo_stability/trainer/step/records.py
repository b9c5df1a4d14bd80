"""Builds the record of each step, and completes it with values that arrive later."""

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

_INPUTS = ("input_min", "input_max", "input_mean", "input_std")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlace:
    """Position of a step in its run.

    Attributes:
        attempt: Attempt.
        step: Optimizer step.
        iteration: Last iteration of the step.
        accumulate: Number of iterations whose gradients the step accumulates.
    """

    attempt: int
    step: int
    iteration: int
    accumulate: int


class GroupRates:
    """Learning rate of each parameter group by name; the names are computed once per optimizer."""

    def __init__(self) -> None:
        self._named: tuple[torch.optim.Optimizer, list[str]] | None = None

    def of(self, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        """Return the current learning rates.

        Args:
            optimizer: The optimizer; a restart replaces it.
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
    """Return the record of a step, without the values that are still on the device.

    Args:
        state: State of the training.
        blocks: Blocks of the model.
        reading: Measurements of the gradients.
        place: Position of the step in the run.
        rates: Reads the learning rates.
        skipped: Component that skipped the step; None for an applied step.
        seconds: Time since the previous step, in seconds.
    """
    norms = zip(blocks, reading.block_norms, reading.block_nonfinite, strict=True)
    return StepRecord(
        attempt=place.attempt,
        step=place.step,
        iteration=place.iteration,
        epoch=state.epoch,
        accumulate=place.accumulate,
        loss=reading.loss,
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
        images=reading.counts.images,
        objects=reading.counts.objects,
        **dict(zip(_INPUTS, reading.inputs or (), strict=False)),
    )


def none_if_nan(value: float | None) -> float | None:
    """Return the value, or None if it is NaN."""
    return None if value is None or math.isnan(value) else value


def skip_details(reading: Reading, reason: str, in_a_row: int) -> dict[str, Any]:
    """Return the event data of a step that the guard skipped.

    Args:
        reading: Measurements of the gradients.
        reason: Reason for the skip.
        in_a_row: Number of consecutive skips, including this one.
    """
    return {
        "reason": reason,
        "nonfinite": reading.signs.nonfinite_gradients,
        "blocks": sum(n > 0 for n in reading.block_nonfinite),
        "in_a_row": in_a_row,
    }


def worst_block(blocks: tuple[BlockSpec, ...], reading: Reading) -> str | None:
    """Return the only block with a non-finite gradient; None if there are none or several."""
    bad = [
        block.name for block, count in zip(blocks, reading.block_nonfinite, strict=True) if count
    ]
    return bad[0] if len(bad) == 1 else None


class RecordKeeper:
    """Builds the record of each step and keeps the latest one until its update ratio arrives.

    Args:
        state: State of the training.
        reader: Measures gradients.
        journal: Counters of the run.
        positions: Block position of each sampled tensor, shape (n,).
        receive: Receives each record.

    Attributes:
        deferred: Vectors of the latest step that are still on the device: weight norms, updates,
            clip coefficient.
        outcome: Detects runs that fail without any NaN.
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
        """Record a step that the guard admitted; return whether the AMP scaler applied it."""
        overflowed = reading.signs.scaler_enabled and reading.signs.nonfinite_gradients > 0
        self.add(reading, "scaler" if overflowed else None)
        if overflowed:
            block = worst_block(self._reader.blocks, reading)
            self._journal.emit("scaler_skip", block, {"scale": reading.amp_scale})
        return not overflowed

    def add(self, reading: Reading, skipped: Skip | None) -> None:
        """Build the record of the current step; emit it, or keep it until its update ratio arrives.

        Args:
            reading: Measurements of the gradients.
            skipped: Component that skipped the step; None for an applied step.
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
        """Add the deferred values to the kept record and emit it.

        Args:
            weights: Weight norm of each sampled tensor, shape (n,); empty if not sampled.
            deltas: Update norm of each sampled tensor, shape (n,); empty if not sampled.
            coefficient: Clip coefficient, shape (1,); empty if already recorded.
        """
        record, self._held = self._held, None
        self.deferred = (NOTHING, NOTHING, NOTHING)
        if record is None:
            return
        if len(coefficient):
            record = replace(record, clip_coef=none_if_nan(float(coefficient[0])))
        index, positions = self._reader.index, self._positions
        self._receive(with_update_ratios(record, index, positions, weights, deltas))

    def flush(self) -> None:
        """Emit the record that waits for its update ratio."""
        if self._held is not None:
            self.complete(*to_host(*self.deferred))

    def _place(self) -> StepPlace:
        """Return the position of the current step in the run."""
        journal = self._journal
        return StepPlace(
            attempt=journal.attempt,
            step=journal.step,
            iteration=journal.iteration,
            accumulate=max(self._reader.window.iterations, 1),
        )
