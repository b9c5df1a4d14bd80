"""Facts about a run that are known before its first step: steps, weights, who chose the rate."""

from __future__ import annotations

from typing import Any

import numpy as np

from yolo_stability.compat.ultralytics import (
    Trainer,
    accumulation_target,
    inner_model,
    stock_chooses_rate,
    warmup_iterations,
)

__all__ = ["facts_at_start", "planned_steps", "weights_trained"]


def facts_at_start(trainer: Trainer) -> dict[str, Any]:
    """Return what header and console report about a run that begins.

    Args:
        trainer: The trainer, after its setup.

    Returns:
        `steps_planned` (None where the time decides), `start_epoch`, `weights_trained`, and
        `stock_chooses_rate`.
    """
    steps = None
    if not trainer.args.time:
        steps = planned_steps(
            batches=len(trainer.train_loader),
            epochs=trainer.epochs,
            start_epoch=trainer.start_epoch,
            warmup=warmup_iterations(trainer),
            accumulate=int(trainer.accumulate),
            target=accumulation_target(trainer),
        )
    return {
        "steps_planned": steps,
        "start_epoch": int(trainer.start_epoch),
        "weights_trained": weights_trained(trainer),
        "stock_chooses_rate": stock_chooses_rate(trainer),
    }


def planned_steps(
    *,
    batches: int,
    epochs: int,
    warmup: int,
    accumulate: int,
    target: float | None = None,
    start_epoch: int = 0,
) -> int:
    """Return the number of optimizer steps of a whole session, as Ultralytics counts.

    A step is due when `accumulate` batches have passed since the last one, across epochs; batches
    after the last step are lost. In warm-up the number grows from 1. The first step counts from
    batch -1, so that a resumed session takes one at once.

    Args:
        batches: Batches per epoch.
        epochs: Epochs of the run.
        warmup: Iterations of the warm-up; 0 for none.
        accumulate: Batches per step after the warm-up.
        target: Number that the warm-up approaches, before rounding; None for `accumulate`.
        start_epoch: First epoch of the session, counted from 0.

    Example:
        >>> planned_steps(batches=1, epochs=12, warmup=3, accumulate=2)
        7
    """
    first, end, last, steps = batches * start_epoch, batches * epochs, -1, 0
    if warmup:
        ramp = np.arange(first, min(warmup + 1, end))
        due = np.interp(ramp, [0, warmup], [1, accumulate if target is None else target]).round()
        for iteration, needed in zip(ramp.tolist(), due.tolist(), strict=True):
            if iteration - last >= max(needed, 1):
                last, steps = iteration, steps + 1
        first = max(first, warmup + 1)
    step = max(first, last + accumulate)
    return steps + max(0, (end - 1 - step) // accumulate + 1)


def weights_trained(trainer: Trainer) -> int:
    """Return the number of weights that the optimizer changes."""
    model = getattr(inner_model(trainer), "student_model", inner_model(trainer))
    known = {id(p) for p in model.parameters() if p.requires_grad}
    groups = trainer.optimizer.param_groups
    trained = {id(p): p.numel() for group in groups for p in group["params"] if id(p) in known}
    return sum(trained.values())
