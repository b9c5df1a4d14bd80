"""The forms that a running loss has had; torch alone, so that the guard of any loop can use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

__all__ = ["map_loss"]


def map_loss(value: Any, function: Any, *others: Any) -> Any:
    """Apply a function to a running loss (`tloss`), which is a dict, a tensor or None depending on the version.

    Args:
        value: The running loss.
        function: Called with each tensor of it, and the matching tensor of each of the others.
        others: Running losses of the same shape.
    """
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {
            k: function(torch.as_tensor(v), *(torch.as_tensor(o[k]) for o in others))
            for k, v in value.items()
        }
    return function(torch.as_tensor(value), *others)
