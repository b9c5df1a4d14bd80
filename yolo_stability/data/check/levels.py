"""Gray levels of images with more than 8 bits a channel, in the file and as trained.

Ultralytics keeps the upper 8 bits of 16 (`ultralytics.utils.patches.imread`), so that content which
uses few of them becomes black, or nearly one level, without a message.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["Levels", "is_deep", "read_levels"]

PNG = b"\x89PNG\r\n\x1a\n"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
JPEG_2000 = (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")
HEAD = 32
"""Number of bytes that decide whether an image may be deep."""
ROWS = 256
"""Number of rows of pixels whose levels are counted."""
CUT = 0.1
"""Percentage of the darkest and of the brightest pixels that are excluded, such as hot pixels."""


@dataclass(frozen=True, slots=True)
class Levels:
    """Range of the gray levels of an image, without outliers.

    Attributes:
        low: Low level in the file.
        high: High level in the file.
        seen: Number of levels from the lowest to the highest one that a training sees, of 256.
        lost: Whether levels of the file that differ are equal as trained.
        real: Whether the file holds floating-point numbers.
    """

    low: float
    high: float
    seen: int
    lost: bool
    real: bool = False


def is_deep(head: bytes) -> bool:
    """Return whether an image may have more than 8 bits a channel, from its first bytes.

    Args:
        head: The first `HEAD` bytes of the file.

    Example:
        >>> is_deep(bytes.fromhex("89504e470d0a1a0a0000000d49484452000000100000001010000000"))
        True
        >>> is_deep(bytes.fromhex("ffd8ffe0"))
        False
    """
    if head.startswith(PNG):
        return len(head) > 24 and head[24] == 16
    return head.startswith((*TIFF, *JPEG_2000))


def read_levels(image: str, channels: int = 3) -> Levels | None:
    """Return the gray levels of an image; None if it has 8 bits or cannot be decoded.

    Args:
        image: Path of the image.
        channels: `channels` of the data YAML.
    """
    from yolo_stability.compat.images import trained_pixels

    content = np.fromfile(image, np.uint8)
    try:
        kept = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if kept is None or kept.dtype == np.uint8:
        return None
    trained = trained_pixels(image, channels)
    if trained is None:
        return None
    if kept.ndim == 3 and kept.shape[2] in {2, 4}:  # without the alpha channel
        kept, trained = kept[..., :-1], trained[..., : max(kept.shape[2] - 1, 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NaN in floating-point images
        low, high = (float(v) for v in np.nanpercentile(kept, (CUT, 100 - CUT)))
        dark, bright = (int(v) for v in np.percentile(trained, (CUT, 100 - CUT)))
    step = max(1, kept.shape[0] // ROWS)
    lost = len(np.unique(kept[::step])) > len(np.unique(trained[::step]))
    return Levels(low, high, bright - dark + 1, lost, real=kept.dtype.kind == "f")
