"""`fault=black_images:0.05`: a share of the images is black; @N: one image of batch N."""

from __future__ import annotations

from torch import Tensor

from yolo_stability.interventions.faults._base import ImageFault

__all__ = ["BlackImages"]


class BlackImages(ImageFault):
    """Simulates a dead camera or a failed decoder: labels that nothing in the image explains."""

    def damage(self, image: Tensor) -> None:
        """Set every value to 0."""
        image.zero_()
