"""`norm=`: what stands in the place of each BatchNorm2d of a model.

Each kind is one file in this folder; `_replace` puts it into the model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from yolo_stability.interventions.choice import Choice

__all__ = ["STOCK_NORM", "Norm"]

STOCK_NORM = "batch"


class Norm(Choice, ABC):
    """One kind of normalisation; a subclass in its own file is all that a new one takes.

    Attributes:
        replaces: Whether BatchNorm layers are taken out for it.
        freezes: Whether BatchNorm stays, with statistics that training no longer changes.
    """

    replaces: ClassVar[bool] = True
    freezes: ClassVar[bool] = False

    @abstractmethod
    def layer(self, channels: int) -> nn.Module | None:
        """Return what normalises a map of so many channels; a class of torch, or None for nothing at all."""
