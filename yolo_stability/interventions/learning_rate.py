"""`lr_mult=1000`: multiplies every learning rate by a factor.

Ultralytics' config check rejects `lr0` above 1, and a changed `group["lr"]` lasts only until the
next warm-up batch or epoch. The factor is therefore applied where the optimizer is built, so that
warm-up, schedule and recovery follow it.
"""

from __future__ import annotations

from torch.optim import Optimizer

__all__ = ["scale_learning_rate"]


def scale_learning_rate(optimizer: Optimizer, factor: float) -> None:
    """Multiply the current learning rate of every group; a scheduler keeps its own base rates.

    Args:
        optimizer: Optimizer; the caller updates its scheduler, if it has one.
        factor: Factor above 0.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.25)
        >>> scale_learning_rate(optimizer, 2.0)
        >>> optimizer.param_groups[0]["lr"]
        0.5
    """
    for group in optimizer.param_groups:
        group["lr"] *= factor
        if "initial_lr" in group:
            group["initial_lr"] *= factor
