"""The warm-up of the learning rate, given back to a state that is put back to where it still had it before it.

Ultralytics counts a warm-up by iterations, which go on after a rollback. Weights of step 0 would then be trained at the
full rate at once, and biases, which a warm-up begins at twenty times the rate of AdamW, would never catch up: detection
learnt half as much (`docs/pages/how-to/learning-rate.md`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from yolo_stability.compat.ultralytics import Trainer, stock_bias_rate, warmup_iterations

__all__ = ["WarmUp", "given_back", "lower_bias_rate"]


class WarmUp:
    """Where a run stands in its warm-up: the iterations it has passed, less those that a rollback has given back.

    Attributes:
        back: Iterations that rollbacks have given back.
    """

    def __init__(self) -> None:
        self.back = self._ahead = 0

    def begin_epoch(self, trainer: Trainer, epoch: int, iteration: int) -> None:
        """Note where Ultralytics stands: it counts iterations by epochs, and begins one anew after a kill or a failure.

        Args:
            trainer: The trainer.
            epoch: The epoch that begins.
            iteration: The iteration that comes next, as the run counts them.
        """
        self._ahead = iteration - epoch * len(trainer.train_loader)

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

    def apply(self, trainer: Trainer, iteration: int) -> None:
        """Set rates, momentum and accumulation as Ultralytics does in a warm-up; call after it has set its own.

        Args:
            trainer: The trainer, before a forward.
            iteration: The iteration.
        """
        place, end = self.place(iteration), warmup_iterations(trainer)
        if not (self.back and end) or place > end:
            return
        args = trainer.args

        def at(first: float, last: float) -> float:
            return float(np.interp(place, [0, end], [first, last]))

        for group in trainer.optimizer.param_groups:
            first = args.warmup_bias_lr if group.get("param_group") == "bias" else 0.0
            group["lr"] = at(first, group["initial_lr"] * trainer.lf(trainer.epoch))
            if "momentum" in group:
                group["momentum"] = at(args.warmup_momentum, args.momentum)
        nominal = min(
            max(round(args.nbs / trainer.batch_size), 1), len(trainer.train_loader) * trainer.epochs
        )
        trainer.accumulate = max(1, round(at(1, nominal)))


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


def lower_bias_rate(trainer: Trainer, factor: float) -> None:
    """Lower the rate at which biases begin a warm-up, but not below what stock begins with.

    `lr_mult` does not raise it, so that a rate which comes down a thousandfold must not take it along.

    Args:
        trainer: The trainer.
        factor: The factor of all other rates.
    """
    now = float(trainer.args.warmup_bias_lr)
    trainer.args.warmup_bias_lr = max(now * factor, min(now, stock_bias_rate()))
