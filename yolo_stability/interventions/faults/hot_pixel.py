"""`fault=hot_pixel:0.05`: one pixel is 60000 times white in that share of the images; @N: in one image of batch N.

BatchNorm divides by a variance that this pixel alone decides: the loss hardly shows it, but the running variances,
which validation and the saved model use, are some 2000 times too large and take 250 steps to come back.
"""

from __future__ import annotations

from torch import Tensor

from yolo_stability.interventions.faults._base import ImageFault

__all__ = ["HotPixel"]

# finite in half precision, too: a larger one would be an infinite pixel under AMP
_BRIGHTNESS = 6e4


class HotPixel(ImageFault):
    """A finite outlier: no check for NaN or Inf sees it."""

    def damage(self, image: Tensor) -> None:
        """Set all channels of the first pixel."""
        image[:, 0, 0] = _BRIGHTNESS
