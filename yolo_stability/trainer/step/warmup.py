"""The warm-up of the learning rate, given back to a state that is put back to where it still had it before it.

Ultralytics counts a warm-up by iterations, which go on after a rollback. Weights of step 0 would then be trained at the
full rate at once, and biases, which a warm-up begins at twenty times the rate of AdamW, would never catch up: detection
learnt half as much (`docs/pages/how-to/learning-rate.md`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from yolo_stability.compat.ultralytics import stock_bias_rate

__all__ = ["BiasedState", "WarmUp", "WarmedState", "given_back", "lower_bias_rate"]


class WarmedState(Protocol):
    """A training with a warm-up."""

    @property
    def batches(self) -> int:
        """Iterations of an epoch."""

    def warm_up(self, place: int) -> None:
        """Set rates, momentum and accumulation as they are at a place of the warm-up, while it lasts."""


class BiasedState(Protocol):
    """A training whose biases begin the warm-up at a rate of their own.

    Attributes:
        warmup_bias_lr: That rate.
    """

    warmup_bias_lr: float


class WarmUp:
    """Where a run stands in its warm-up: the iterations it has passed, less those that a rollback has given back.

    Attributes:
        back: Iterations that rollbacks have given back.
    """

    def __init__(self) -> None:
        self.back = self._ahead = 0

    def begin_epoch(self, state: WarmedState, epoch: int, iteration: int) -> None:
        """Note where Ultralytics stands: it counts iterations by epochs, and begins one anew after a kill or a failure.

        Args:
            state: The training.
            epoch: The epoch that begins.
            iteration: The iteration that comes next, as the run counts them.
        """
        self._ahead = iteration - epoch * state.batches

    def passed(self, iteration: int) -> int:
        """Return the iterations before one as Ultralytics counts them.

        Args:
            iteration: The iteration, as the run counts them.
        """
        return iteration - self._ahead

    def place(self, iteration: int) -> int:
        """Return how far the state before an iteration is.

        Args:
            iteration: The iteration, as the run counts them.
        """
        return self.passed(iteration) - self.back

    def return_to(self, place: int, iteration: int) -> None:
        """Go back to a place.

        Args:
            place: Where the restored state was.
            iteration: The iteration that comes next.
        """
        self.back = self.passed(iteration) - place

    def apply(self, state: WarmedState, iteration: int) -> None:
        """Warm a restored state up from its own place; call after Ultralytics has set its rates.

        Args:
            state: The training, before a forward.
            iteration: The iteration.
        """
        if self.back:
            state.warm_up(self.place(iteration))


def given_back(told: Iterable[tuple[str, Mapping[str, Any]]], epoch: int, batches: int) -> int:
    """Return the iterations of the warm-up that are given back where a sitting begins.

    A checkpoint that is older than a rescue was not put back by it, nor is what a sitting made of such a one.

    Args:
        told: Kind and data of the events `rescue` and `resume` of earlier sittings, in their order.
        epoch: The epoch with which the sitting begins.
        batches: Iterations of an epoch.
    """
    back = since = 0
    for kind, data in told:
        if kind == "rescue" and int(data.get("iterations", 0)) <= epoch * batches:
            back, since = int(data.get("warmup_back", 0)), int(data.get("iterations", 0))
        elif kind == "resume" and int(data.get("epoch", epoch)) * batches < since:
            back = since = 0
    return back


def lower_bias_rate(state: BiasedState, factor: float) -> None:
    """Lower the rate at which biases begin a warm-up, but not below what stock begins with.

    `lr_mult` does not raise it, so that a rate which comes down a thousandfold must not take it along.

    Args:
        state: The training.
        factor: The factor of all other rates.
    """
    now = state.warmup_bias_lr
    state.warmup_bias_lr = max(now * factor, min(now, stock_bias_rate()))
