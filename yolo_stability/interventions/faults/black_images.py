"""`fault=black_images:0.05`: that share of the images is black, labels stay; @N: one image of batch N."""

from __future__ import annotations

from torch import Tensor

from yolo_stability.interventions.faults._base import ImageFault

__all__ = ["BlackImages"]


class BlackImages(ImageFault):
    """What a dead camera or a failed decoder delivers: labels that nothing in the image explains."""

    def damage(self, image: Tensor) -> None:
        """Set every value to 0."""
        image.zero_()
