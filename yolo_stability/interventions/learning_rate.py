"""`lr_mult=1000`: every learning rate times a factor.

`lr0` above 1 is refused by Ultralytics' config check, and a lowered `group["lr"]` lasts only until the next warm-up
batch or epoch. The factor is applied where the optimizer is built, so that warm-up, schedule and recovery all follow.
"""

from __future__ import annotations

from torch.optim import Optimizer

__all__ = ["scale_learning_rate"]


def scale_learning_rate(optimizer: Optimizer, factor: float) -> None:
    """Multiply the learning rate of every group as it stands; a scheduler keeps its own base rates.

    Args:
        optimizer: One whose scheduler, if it has one, is told by the caller.
        factor: More than 0.
    """
    for group in optimizer.param_groups:
        group["lr"] *= factor
        if "initial_lr" in group:
            group["initial_lr"] *= factor
