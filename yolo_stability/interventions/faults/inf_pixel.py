"""`fault=inf_pixel:0.05`: one value is infinite in that share of the images; @N: in one image of batch N."""

from __future__ import annotations

import torch
from torch import Tensor

from yolo_stability.interventions.faults._base import ImageFault

__all__ = ["InfPixel"]


class InfPixel(ImageFault):
    """Leaves the loss finite at first and NaN in the statistics of BatchNorm."""

    def damage(self, image: Tensor) -> None:
        """Spoil the first channel of the first pixel."""
        image[0, 0, 0] = torch.inf
