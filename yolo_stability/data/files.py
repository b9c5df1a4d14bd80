"""Files that Ultralytics reads and writes for a dataset, determined without writing any."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from yolo_stability.core.errors import DataError

__all__ = [
    "LABEL_TASKS",
    "SUFFIXES",
    "cache_file",
    "images_of",
    "label_file",
    "plain_config",
    "unfinished_jpeg",
    "unread_labels",
]

FORMATS = "avif bmp dng heic heif jp2 jpeg jpg mpo png tif tiff webp"


SUFFIXES = frozenset(f".{name}" for name in FORMATS.split())
"""Suffixes of images that Ultralytics reads; a test compares them with its own."""

LABEL_TASKS = ("detect", "segment", "pose", "obb")
"""Tasks whose labels are text files that belong to images."""


def plain_config(data: str) -> dict[str, Any]:
    """Return a data YAML as Ultralytics reads it, with absolute paths; nothing is downloaded.

    Args:
        data: Path of the YAML or of its folder, or the name of a dataset shipped with Ultralytics.

    Raises:
        DataError: Ultralytics cannot use it as it is.
    """
    from yolo_stability.compat.ultralytics import dataset_config

    try:
        return dataset_config(data)
    except Exception as err:  # Ultralytics validates little and raises any type
        reason = " ".join(str(err).replace("❌", "").split())[:300].rstrip(" .")
        raise DataError(
            f"Ultralytics cannot use the data YAML {data}: {reason or type(err).__name__}."
        ) from err


def images_of(places: str | Sequence[str], split: str) -> list[str]:
    """Return the images of a split in Ultralytics' order, which a test compares.

    Args:
        places: One or more folders, or text files that list images.
        split: Name of the split, for error messages.

    Returns:
        Paths as Ultralytics forms them; paths from a list need not exist.

    Raises:
        DataError: A place does not exist or cannot be read, or there is no image.
    """
    found: list[str] = []
    for place in [places] if isinstance(places, str) else places:
        path = Path(place)
        if path.is_dir():
            found += glob.glob(str(Path(glob.escape(place)) / "**" / "*.*"), recursive=True)  # noqa: PTH207
        elif path.is_file():
            found += _listed(path)
        else:
            raise DataError(
                f"The {split} set is at {place}, which does not exist. "
                f"Correct '{split}:' in the data YAML."
            )
    images = sorted(
        x.replace("/", os.sep) for x in found if f".{x.rpartition('.')[-1].lower()}" in SUFFIXES
    )
    if not images:
        listed = places if isinstance(places, str) else ", ".join(places)
        raise DataError(
            f"The {split} set {listed} contains no image. Add images, or correct '{split}:' in the "
            "data YAML."
        )
    return images


def _listed(path: Path) -> list[str]:
    """Return the lines of an image list; a line that starts with ./ is relative to its folder."""
    try:
        lines = path.read_text(encoding="utf-8-sig").strip().splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise DataError(f"Cannot read the image list {path}: {err}.") from err
    parent = str(path.parent) + os.sep
    return [line.replace("./", parent, 1) if line.startswith("./") else line for line in lines]


def label_file(image: str) -> str:
    """Return the label file of an image: the last folder named `images` becomes `labels`.

    Example:
        >>> Path(label_file(os.path.join(os.sep, "images", "train", "1.jpg"))).as_posix()
        '/labels/train/1.txt'
    """
    inside, labels = f"{os.sep}images{os.sep}", f"{os.sep}labels{os.sep}"
    return labels.join(image.rsplit(inside, 1)).rsplit(".", 1)[0] + ".txt"


def cache_file(images: Sequence[str]) -> Path:
    """Return the cache file of Ultralytics' label scan, beside the first label folder."""
    return Path(label_file(images[0])).parent.with_suffix(".cache")


def unfinished_jpeg(path: str | Path) -> bool:
    """Return whether a JPEG lacks its end marker, which Ultralytics would repair in place.

    Raises:
        OSError: The file cannot be read.
    """
    with open(path, "rb") as file:  # noqa: PTH123 - called for each image; a Path is slower
        if file.read(2) != b"\xff\xd8":
            return False
        file.seek(-2, os.SEEK_END)
        return file.read(2) != b"\xff\xd9"


def unread_labels(images: Iterable[str]) -> list[str]:
    """Return label files without an image, which are never read.

    Args:
        images: Images of all splits.

    Returns:
        Sorted paths; only folders with labels of these images are searched.
    """
    pairs: dict[str, str] = {}
    for image in images:
        pairs.setdefault(os.path.dirname(label_file(image)), os.path.dirname(image))  # noqa: PTH120
    unread: list[str] = []
    for labels, pictures in pairs.items():
        if labels == pictures or not os.path.isdir(labels) or not os.path.isdir(pictures):  # noqa: PTH112
            continue  # labels beside images: the folder may contain any text file
        with os.scandir(pictures) as entries:
            stems = {
                e.name.rsplit(".", 1)[0] for e in entries if Path(e.name).suffix.lower() in SUFFIXES
            }
        with os.scandir(labels) as entries:
            names = [e.name for e in entries if e.name.endswith(".txt") and e.name != "classes.txt"]
        unread += [os.path.join(labels, name) for name in names if name[:-4] not in stems]  # noqa: PTH118
    return sorted(unread)
