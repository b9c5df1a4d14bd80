"""Measures accumulated gradients with one pass over the tensors and one transfer to the host."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yolo_stability.compat.ultralytics import scale_tensor
from yolo_stability.gradients.blocks import model_blocks
from yolo_stability.gradients.norms import (
    BlockIndex,
    count_nonfinite,
    tensor_norms,
    to_host,
    total_norm,
    without_overflow,
)
from yolo_stability.guard.distributed import agree, is_distributed
from yolo_stability.guard.guard import StepSigns
from yolo_stability.guard.training_state import TrainingState
from yolo_stability.trace.arrays import PER_IMAGE
from yolo_stability.trainer.step.accumulation import Window, gradient_norm
from yolo_stability.trainer.step.inputs import BatchCounts
from yolo_stability.trainer.step.loop_state import LoopState

__all__ = ["GradientReader", "Reading", "agreed", "unscaled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Measurements of the gradients of one step, before clipping.

    Attributes:
        total: Total norm on the device, as used by the clip; inf if float32 overflows.
        raw_norm: `total` on the host.
        grad_norm: Total norm on the host, finite whenever every element is finite.
        clip_coef: Coefficient applied by the clip; None before clipping or if nothing was clipped.
        signs: Values on which the guard bases its decision.
        loss: Loss to record: that of the guard, divided as `GradientReader.loss_factor` defines.
        counts: Images and objects of the step.
        inputs: Smallest, largest, mean value and standard deviation of the input; None if not
            measured.
        loss_items: Mean of each loss item over the window.
        amp_scale: Loss scale of AMP; None if AMP is off.
        block_norms: Norm per block; None for a block without gradient.
        block_nonfinite: Number of non-finite elements per block.
        micro_norm: Gradient norm after the first micro-batch, unscaled; None if not measured.
        deferred: Values of the previous step from the same transfer, in the order passed.
    """

    total: Tensor
    raw_norm: float
    grad_norm: float
    clip_coef: float | None
    signs: StepSigns
    loss: float
    counts: BatchCounts
    inputs: tuple[float, ...] | None
    loss_items: dict[str, float]
    amp_scale: float | None
    block_norms: list[float | None]
    block_nonfinite: list[int]
    micro_norm: float | None
    deferred: tuple[NDArray[np.float64], ...]


def read_gradients(
    state: TrainingState,
    index: BlockIndex,
    window: Window,
    largest_buffer: Tensor,
    deferred: tuple[Tensor, ...],
    loss_factor: str | None = None,
) -> Reading:
    """Measure the gradients of a step; call between `scaler.unscale_` and the clip.

    Args:
        state: State of the training with unscaled gradients.
        index: Parameters and their blocks.
        window: Losses of the iterations accumulated in the step.
        largest_buffer: Result of `Guard.largest_buffer`; empty without a guard.
        deferred: Vectors of the previous step to include in the transfer.
        loss_factor: See `GradientReader`.
    """
    grads, positions = index.with_gradient()
    norms = tensor_norms(grads)
    total = total_norm(grads, norms)
    loss = total.new_zeros(1) if window.loss is None else window.loss
    items = torch.stack(list(window.items.values())) if window.items else torch.zeros(0)
    host_norms, host_total, host_loss, host_items, scale, buffer, micro, inputs, *transferred = (
        to_host(
            norms,
            total,
            loss,
            items,
            scale_tensor(state),
            largest_buffer,
            window.micro_norm,
            window.inputs,
            *deferred,
        )
    )
    raw_total = float(host_total[0])
    counts = np.zeros(len(grads), dtype=np.int64)
    if not math.isfinite(raw_total):
        counts = count_nonfinite(grads)
        host_norms = without_overflow(grads, host_norms, counts)
    iterations = max(window.iterations, 1)
    summed = float(host_loss[0])
    return Reading(
        total=total,
        raw_norm=raw_total,
        grad_norm=raw_total
        if counts.any() or math.isfinite(raw_total)
        else float(np.sqrt((host_norms**2).sum())),
        clip_coef=None,
        signs=StepSigns(
            loss=summed / iterations,
            nonfinite_gradients=int(counts.sum()),
            largest_buffer=float(buffer[0]) if len(buffer) else None,
            scaler_enabled=len(scale) > 0,
        ),
        loss=summed / _divisor(state, window, loss_factor),
        counts=window.counts,
        inputs=tuple(float(value) for value in inputs) or None,
        loss_items={
            k: float(v) / iterations for k, v in zip(window.items, host_items, strict=True)
        },
        amp_scale=float(scale[0]) if len(scale) else None,
        block_norms=index.combine(host_norms, positions),
        block_nonfinite=index.sum_counts(counts, positions),
        micro_norm=float(micro[0]) / (float(scale[0]) if len(scale) else 1.0)
        if len(micro)
        else None,
        deferred=tuple(transferred),
    )


def _divisor(state: TrainingState, window: Window, loss_factor: str | None) -> float:
    """Return what the loss of a window is divided by: a mean per image where it can be."""
    iterations = max(window.iterations, 1)
    if loss_factor is None:
        return iterations
    processes = state.world_size if is_distributed(state) else 1
    images = window.counts.images if loss_factor == PER_IMAGE else None
    return (images or iterations) * processes


def agreed(state: TrainingState, reading: Reading) -> Reading:
    """Return a reading with what all ranks of a distributed training share; call it on every rank.

    Args:
        state: State of the training.
        reading: Reading of this rank; returned unchanged in a training of one process.
    """
    if not is_distributed(state):
        return reading
    numbers = (reading.counts.images, reading.counts.objects)
    values = [reading.loss, *(math.nan if n is None else float(n) for n in numbers)]
    signs, (losses, images, objects) = agree(state, reading.signs, values)
    counts = BatchCounts(_total(images), _total(objects))
    return replace(reading, signs=signs, loss=sum(losses) / len(losses), counts=counts)


def _total(counts: Sequence[float]) -> int | None:
    total = sum(counts)
    return None if math.isnan(total) else int(total)


def unscaled(reading: Reading) -> Reading:
    """Return a reading of scaled gradients with its norms divided by the AMP loss scale."""
    scale = reading.amp_scale or 1.0
    return replace(
        reading,
        grad_norm=reading.grad_norm / scale,
        clip_coef=None,
        block_norms=[None if n is None else n / scale for n in reading.block_norms],
    )


class GradientReader:
    """Measures the gradients of each step and keeps the reading until the step is recorded.

    Args:
        state: State of the training.

    Attributes:
        blocks: Blocks of the model.
        index: Parameters of the model and their blocks.
        window: Losses of the iterations accumulated for the next step.
        loss_factor: How the recorded loss is divided, beside the world size: `images` for the mean
            per image, `none` for the mean per iteration; None for the undivided loss of version 1.
    """

    def __init__(self, state: LoopState) -> None:
        self.loss_factor: str | None = None
        self._state = state
        self.blocks = model_blocks(state.model)
        self.index = BlockIndex.of(state.model, self.blocks)
        self.window = Window()
        self._reading: Reading | None = None

    def read(self, largest_buffer: Tensor, deferred: tuple[Tensor, ...]) -> Reading:
        """Measure the gradients of a step; call between `scaler.unscale_` and the clip.

        Args:
            largest_buffer: Result of `Guard.largest_buffer`; empty without a guard.
            deferred: Vectors of the previous step to include in the transfer.
        """
        return read_gradients(
            self._state, self.index, self.window, largest_buffer, deferred, self.loss_factor
        )

    def end_iteration(self, *, measure: bool) -> None:
        """Add the losses of an iteration that was not followed by a step.

        Args:
            measure: Whether to measure the gradient norm of the first micro-batch.
        """
        self.window.absorb(self._state)
        if self.window.iterations == 1 and measure:
            self.window.micro_norm = gradient_norm(self.index)

    def hold(self, reading: Reading) -> None:
        """Keep the reading of an admitted step."""
        self._reading = reading

    def take(self) -> Reading:
        """Return and clear the kept reading."""
        reading, self._reading = self._reading, None
        assert reading is not None
        return reading
