"""Common properties of torch optimizers."""

from __future__ import annotations

import torch

__all__ = ["momentum"]


def momentum(optimizer: torch.optim.Optimizer) -> float | None:
    """Return the momentum of the first parameter group (beta1 for Adam-type optimizers), or None.

    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(1))
        >>> momentum(torch.optim.SGD([weight], lr=0.1, momentum=0.9))
        0.9
        >>> momentum(torch.optim.Adagrad([weight])) is None
        True
    """
    group = optimizer.param_groups[0]
    value = group.get("momentum")
    if value is None:
        value = (group.get("betas") or [None])[0]
    return None if value is None else float(value)
