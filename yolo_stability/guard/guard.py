"""Guard: decides whether a step may be applied, and undoes the effects of a skipped one.

Non-finite means an element that is NaN or Inf in the loss, a gradient or a buffer. A norm that
merely overflows float32 is no reason to skip.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from yolo_stability.compat.losses import map_loss
from yolo_stability.gradients.norms import tensor_norms
from yolo_stability.guard.buffers import BufferSnapshot
from yolo_stability.guard.training_state import TrainingState

__all__ = ["Guard", "StepSigns"]

Reason = Literal["loss", "gradient", "buffer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSigns:
    """Signs of a step that are known on the host before it is applied.

    Attributes:
        loss: Mean loss of the window.
        nonfinite_gradients: Number of gradient elements that are NaN or Inf.
        largest_buffer: Largest magnitude in the buffers; NaN or inf if one contains such a value;
            None without buffers.
        scaler_enabled: Whether AMP's scaler is enabled; it skips steps with overflowed gradients
            itself.

    Example:
        >>> signs = StepSigns(
        ...     loss=1.0, nonfinite_gradients=2, largest_buffer=None, scaler_enabled=False
        ... )
        >>> signs.reason
        'gradient'
    """

    loss: float
    nonfinite_gradients: int
    largest_buffer: float | None
    scaler_enabled: bool

    @property
    def reason(self) -> Reason | None:
        """Reason for the guard to skip the step; None if there is none.

        Gradients that overflow under AMP are left to the scaler, which calibrates itself by
        skipping.
        """
        if not math.isfinite(self.loss):
            return "loss"
        if self.largest_buffer is not None and not math.isfinite(self.largest_buffer):
            return "buffer"
        if self.nonfinite_gradients and not self.scaler_enabled:
            return "gradient"
        return None


class Guard:
    """Keeps the buffers and losses from before a bad step, and restores them.

    Args:
        state: The training after its setup; `require_sound_start` has checked it.
    """

    def __init__(self, state: TrainingState) -> None:
        self._buffers = BufferSnapshot(state.model)
        self._loss: Tensor | None = None
        self._running_loss: Any = None
        self.in_a_row = 0

    def before_window(self) -> None:
        """Copy the buffers; call before the first forward after an optimizer step."""
        self._buffers.take()

    def largest_buffer(self) -> Tensor:
        """Return the largest buffer magnitude, on the device; see `BufferSnapshot.largest`."""
        return self._buffers.largest()

    def is_finite(self, state: TrainingState) -> bool:
        """Return whether parameters, EMA and AMP's scale are all finite (synchronizes the device).

        The model's own buffers may contain values of a bad micro-batch until the next step decides;
        neither validation nor a checkpoint reads them. A scale of inf would be permanent, since
        half of it is inf.
        """
        tensors: list[Tensor] = list(state.model.parameters())
        if state.ema:
            buffers = dict(state.ema.ema.named_buffers())
            tensors += [
                *state.ema.ema.parameters(),
                *(buffers[n] for n in self._buffers.watched if n in buffers),
            ]
        scale = getattr(state.scaler, "_scale", None)
        tensors += [] if scale is None else [scale]
        floating = [t.detach() for t in tensors if t.is_floating_point() and t.numel()]
        return bool(torch.isfinite(tensor_norms(floating, math.inf)).all())

    def accept(self, state: TrainingState) -> None:
        """Store the losses of a step that may be applied."""
        self.in_a_row = 0
        self._loss, self._running_loss = state.loss.detach(), state.running_loss

    def undo(self, state: TrainingState) -> None:
        """Undo a bad window: restore buffers and losses, and clear the gradients.

        Ultralytics' own recovery reads the loss at the end of the epoch, and `results.csv` contains
        the running loss; both keep their last finite values. The scaler's state is closed;
        otherwise the next `unscale_` would raise. Weights, optimizer and EMA have not been changed
        yet.
        """
        self.in_a_row += 1
        self._buffers.restore()
        self.restore_losses(state)
        state.scaler.update()
        state.optimizer.zero_grad()

    def restore_losses(self, state: TrainingState) -> None:
        """Restore the last finite losses (zero if there was none yet)."""
        state.loss = torch.zeros_like(state.loss.detach()) if self._loss is None else self._loss
        known = self._running_loss
        state.running_loss = (
            map_loss(state.running_loss, torch.zeros_like) if known is None else known
        )

    def screen_losses(self, state: TrainingState) -> None:
        """Replace non-finite losses by the last finite ones, without a synchronization.

        For iterations that end without an optimizer step: whether they were bad is known only at
        the step.
        """
        last = torch.zeros_like(state.loss) if self._loss is None else self._loss
        state.loss = _finite_or(state.loss.detach(), last)
        if self._running_loss is None:
            state.running_loss = map_loss(
                state.running_loss, lambda v: _finite_or(v, torch.zeros_like(v))
            )
        else:
            state.running_loss = map_loss(state.running_loss, _finite_or, self._running_loss)
        self._loss, self._running_loss = state.loss, state.running_loss


def _finite_or(value: Tensor, fallback: Tensor) -> Tensor:
    """Return the value where it is finite, else the fallback."""
    return torch.where(torch.isfinite(value), value, fallback)
