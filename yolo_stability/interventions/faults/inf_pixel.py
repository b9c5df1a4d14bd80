"""`fault=inf_pixel:0.05`: a pixel is Inf in a share of the images; @N: in one image of batch N."""

from __future__ import annotations

import torch
from torch import Tensor

from yolo_stability.interventions.faults._base import ImageFault

__all__ = ["InfPixel"]


class InfPixel(ImageFault):
    """Leaves the loss finite at first, but the BatchNorm statistics become NaN."""

    def damage(self, image: Tensor) -> None:
        """Set the first channel of the first pixel to infinity."""
        image[0, 0, 0] = torch.inf
