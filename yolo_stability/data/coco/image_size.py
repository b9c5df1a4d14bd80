"""How large a picture really is, read off its header."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["read_image_size"]

FOREIGN = frozenset({".avif", ".dng", ".heic", ".heif"})
"""Formats that Pillow may not know here although Ultralytics reads them through a plugin."""
ORIENTATION = 274
SIDEWAYS = frozenset({5, 6, 7, 8})
"""Values of the EXIF orientation that swap width and height."""
TURNED = frozenset({"JPEG", "MPO", "PNG", "AVIF"})
"""Formats that OpenCV turns as the tag says, in every version; the others vary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """Size of a picture.

    Attributes:
        upright: Width and height as Ultralytics trains on it, with the EXIF orientation applied.
        turned: Whether that orientation swaps width and height.
    """

    upright: tuple[float, float]
    turned: bool


def read_image_size(path: Path) -> Pixels | None:
    """Read the size of a picture without decoding it.

    Args:
        path: The file; it is only read.

    Returns:
        The size; None for a format that cannot be read here but may be elsewhere.

    Raises:
        ValueError: If the file is no picture.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            width, height = image.size
            # For a PNG without the tag, Pillow would decode the whole picture to look for one.
            tagged = image.format != "PNG" or "exif" in image.info
            turned = tagged and image.getexif().get(ORIENTATION) in SIDEWAYS
            if turned and image.format not in TURNED:
                return None
    except Exception as err:  # what Pillow raises on hostile files is not documented
        if path.suffix.lower() in FOREIGN:
            return None
        raise ValueError(f"{path} is no picture") from err
    size = (float(height), float(width)) if turned else (float(width), float(height))
    return Pixels(upright=size, turned=turned)
