"""`fault=nan_pixel:0.05`: a pixel is NaN in a share of the images; @N: in one image of batch N."""

from __future__ import annotations

import torch
from torch import Tensor

from yolo_stability.interventions.faults._base import ImageFault

__all__ = ["NanPixel"]


class NanPixel(ImageFault):
    """Simulates a float image after a division by zero in its preprocessing."""

    def damage(self, image: Tensor) -> None:
        """Set the first channel of the first pixel to NaN."""
        image[0, 0, 0] = torch.nan
