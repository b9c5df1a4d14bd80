"""Actual size of an image, read from its header."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["read_image_size"]

FOREIGN = frozenset({".avif", ".dng", ".heic", ".heif"})
"""Formats that Pillow may not support here although Ultralytics reads them through a plugin."""
ORIENTATION = 274
SIDEWAYS = frozenset({5, 6, 7, 8})
"""EXIF orientations that swap width and height."""
TURNED = frozenset({"JPEG", "MPO", "PNG", "AVIF"})
"""Formats to which every OpenCV version applies the orientation; the others vary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """Size of an image.

    Attributes:
        upright: Width and height as trained on, with the EXIF orientation applied.
        turned: Whether that orientation swaps width and height.
    """

    upright: tuple[float, float]
    turned: bool


def read_image_size(path: Path) -> Pixels | None:
    """Read the size of an image without decoding it.

    Args:
        path: The file; it is only read.

    Returns:
        The size; None for a format that may be readable elsewhere but not here.

    Raises:
        ValueError: The file is not an image.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            width, height = image.size
            # For a PNG without the tag, Pillow would decode the whole image to search for one.
            tagged = image.format != "PNG" or "exif" in image.info
            turned = tagged and image.getexif().get(ORIENTATION) in SIDEWAYS
            if turned and image.format not in TURNED:
                return None
    except Exception as err:  # Pillow's exceptions on hostile files are undocumented
        if path.suffix.lower() in FOREIGN:
            return None
        raise ValueError(f"{path} is not an image") from err
    size = (float(height), float(width)) if turned else (float(width), float(height))
    return Pixels(upright=size, turned=turned)
