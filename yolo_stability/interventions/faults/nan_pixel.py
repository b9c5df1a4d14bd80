"""`fault=nan_pixel:0.05`: one value is NaN in that share of the images; @N: in one image of batch N."""

from __future__ import annotations

import torch
from torch import Tensor

from yolo_stability.interventions.faults._base import ImageFault

__all__ = ["NanPixel"]


class NanPixel(ImageFault):
    """What a float image holds after a division by zero in its preparation."""

    def damage(self, image: Tensor) -> None:
        """Spoil the first channel of the first pixel."""
        image[0, 0, 0] = torch.nan
