"""Restores learning-rate warm-up progress after a rollback.

Ultralytics counts warm-up by iterations, which keep increasing after a rollback. The weights of
step 0 would then be trained at the full learning rate at once, and the biases, which start the
warm-up at twenty times the rate of AdamW, would never catch up: detection models learned half as
much (`docs/pages/how-to/learning-rate.md`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from yolo_stability.compat.ultralytics import stock_bias_rate

__all__ = ["BiasedState", "WarmUp", "WarmedState", "lower_bias_rate", "restored_warmup"]


class WarmedState(Protocol):
    """A training with a warm-up."""

    @property
    def batches(self) -> int:
        """Number of batches per epoch."""

    def warm_up(self, place: int) -> None:
        """Set learning rates, momentum and accumulation after `place` iterations of the warm-up."""


class BiasedState(Protocol):
    """A training with a separate warm-up learning rate for biases.

    Attributes:
        warmup_bias_lr: Learning rate of the biases at the start of the warm-up.
    """

    warmup_bias_lr: float


class WarmUp:
    """Warm-up progress of a run: its iterations minus those restored by rollbacks.

    Attributes:
        back: Number of warm-up iterations restored by rollbacks.
    """

    def __init__(self) -> None:
        self.back = self._ahead = 0

    def begin_epoch(self, state: WarmedState, epoch: int, iteration: int) -> None:
        """Synchronize with Ultralytics, which counts iterations by epoch and may restart an epoch.

        Args:
            state: State of the training.
            epoch: Epoch that starts, counted from 0.
            iteration: Next iteration in the run's own count.
        """
        self._ahead = iteration - epoch * state.batches

    def passed(self, iteration: int) -> int:
        """Return the number of completed iterations in Ultralytics' count.

        Args:
            iteration: Iteration in the run's own count.
        """
        return iteration - self._ahead

    def place(self, iteration: int) -> int:
        """Return the number of warm-up iterations completed before an iteration.

        Args:
            iteration: Iteration in the run's own count.
        """
        return self.passed(iteration) - self.back

    def return_to(self, place: int, iteration: int) -> None:
        """Set the progress to that of a restored state.

        Args:
            place: Warm-up iterations completed when the state was saved.
            iteration: Next iteration in the run's own count.
        """
        self.back = self.passed(iteration) - place

    def apply(self, state: WarmedState, iteration: int) -> None:
        """Apply the warm-up of a restored state; call after Ultralytics has set its learning rates.

        Args:
            state: State of the training, before a forward pass.
            iteration: Current iteration in the run's own count.
        """
        if self.back:
            state.warm_up(self.place(iteration))


def restored_warmup(
    events: Iterable[tuple[str, Mapping[str, Any]]], epoch: int, batches: int
) -> int:
    """Return the number of warm-up iterations restored by rollbacks when a session starts.

    A rescue has no effect on a checkpoint that is older than it, nor on later sessions that start
    from such a checkpoint.

    Args:
        events: Kind and data of the `rescue` and `resume` events of earlier sessions, in order.
        epoch: First epoch of the session, counted from 0.
        batches: Number of batches per epoch.
    """
    back = since = 0
    for kind, data in events:
        if kind == "rescue" and int(data.get("iterations", 0)) <= epoch * batches:
            back, since = int(data.get("warmup_back", 0)), int(data.get("iterations", 0))
        elif kind == "resume" and int(data.get("epoch", epoch)) * batches < since:
            back = since = 0
    return back


def lower_bias_rate(state: BiasedState, factor: float) -> None:
    """Lower the initial warm-up learning rate of the biases, but not below the stock value.

    `lr_mult` does not raise this rate, so lowering the other rates a thousandfold must not lower it
    as much.

    Args:
        state: State of the training.
        factor: Factor applied to all other learning rates.
    """
    now = state.warmup_bias_lr
    state.warmup_bias_lr = max(now * factor, min(now, stock_bias_rate()))
