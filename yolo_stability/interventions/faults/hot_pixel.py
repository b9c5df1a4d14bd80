"""`fault=hot_pixel:0.05`: a pixel is 60000 in a share of the images; @N: in one image of batch N.

White is 1. BatchNorm divides by a variance that this pixel alone determines: the loss hardly shows
it, but the running variances, which validation and the saved model use, are about 2000 times too
large and need 250 steps to recover.
"""

from __future__ import annotations

from torch import Tensor

from yolo_stability.interventions.faults._base import ImageFault

__all__ = ["HotPixel"]

# finite in half precision, too: a larger value would become infinite under AMP
_BRIGHTNESS = 6e4


class HotPixel(ImageFault):
    """Injects a finite outlier, which no check for NaN or Inf detects."""

    def damage(self, image: Tensor) -> None:
        """Set all channels of the first pixel."""
        image[:, 0, 0] = _BRIGHTNESS
