"""Base class of the replacements of BatchNorm2d for `norm=`.

Each kind is one file in this folder; `_replace` inserts it into the model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from yolo_stability.interventions.choice import Choice

__all__ = ["STOCK_NORM", "Norm"]

STOCK_NORM = "batch"


class Norm(Choice, ABC):
    """Base class of normalizations; a new one is one subclass in its own file.

    Attributes:
        replaces: Whether BatchNorm layers are removed.
        freezes: Whether BatchNorm layers are kept with frozen statistics.

    Example:
        >>> class InstanceNorm(Norm):
        ...     def layer(self, channels):
        ...         return nn.GroupNorm(channels, channels)
        >>> InstanceNorm().layer(8).num_groups
        8
    """

    replaces: ClassVar[bool] = True
    freezes: ClassVar[bool] = False

    @abstractmethod
    def layer(self, channels: int) -> nn.Module | None:
        """Return a torch module that normalizes maps of that many channels, or None for none."""
