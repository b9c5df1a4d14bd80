"""Running losses in every form Ultralytics has used; needs torch only, so any guard can use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

__all__ = ["map_loss"]


def map_loss(value: Any, function: Any, *others: Any) -> Any:
    """Apply a function to a running loss (`tloss`): a dict, a tensor or None, by version.

    Args:
        value: The running loss.
        function: Called with each of its tensors and the matching tensors of the others.
        others: Running losses of the same structure.

    Returns:
        The results in the structure of `value`.

    Example:
        >>> map_loss({"box": torch.tensor(1.0)}, lambda loss: 2 * loss)
        {'box': tensor(2.)}
    """
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {
            k: function(torch.as_tensor(v), *(torch.as_tensor(o[k]) for o in others))
            for k, v in value.items()
        }
    return function(torch.as_tensor(value), *others)
