"""What any torch optimizer tells about itself."""

from __future__ import annotations

import torch

__all__ = ["momentum"]


def momentum(optimizer: torch.optim.Optimizer) -> float | None:
    """Return the momentum of the first group (beta1 for Adam-type optimizers), or None."""
    group = optimizer.param_groups[0]
    value = group.get("momentum")
    if value is None:
        value = (group.get("betas") or [None])[0]
    return None if value is None else float(value)
