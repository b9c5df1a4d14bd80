"""Images as a training of Ultralytics reads them."""

from __future__ import annotations

import inspect

import cv2
import numpy as np
from numpy.typing import NDArray
from ultralytics.data.utils import verify_image
from ultralytics.utils.patches import imread

__all__ = ["aligns_classes", "trained_pixels", "verify_class_image"]


def trained_pixels(image: str, channels: int = 3) -> NDArray[np.uint8] | None:
    """Return an image as a training reads it, before resizing; None if it cannot be decoded.

    Args:
        image: Path of the image.
        channels: `channels` of the data YAML.
    """
    flags = {1: cv2.IMREAD_GRAYSCALE, 3: cv2.IMREAD_COLOR}.get(channels, cv2.IMREAD_UNCHANGED)
    try:
        pixels: NDArray[np.uint8] | None = imread(image, flags)
    except (cv2.error, OSError, ValueError):
        return None
    return pixels


def verify_class_image(image: str) -> str | None:
    """Verify an image as Ultralytics does for classification; return its complaint.

    Args:
        image: Path of the image; rewritten if it is a JPEG without end marker.

    Returns:
        The reason why the image would be ignored; None if it is used.
    """
    _, found, _, message = verify_image(((image, 0), ""))
    return None if found else str(message)


def aligns_classes() -> bool:
    """Return whether Ultralytics matches the class folders of a split to the model's by name."""
    from ultralytics.data.dataset import ClassificationDataset

    return "names" in inspect.signature(ClassificationDataset.__init__).parameters
