"""Which files Ultralytics reads and writes for a dataset, found without writing any."""

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
"""Images that Ultralytics reads; a test compares it."""

LABEL_TASKS = ("detect", "segment", "pose", "obb")
"""Tasks whose labels are text files beside the images."""


def plain_config(data: str) -> dict[str, Any]:
    """Return a data YAML as Ultralytics reads it, with absolute paths.

    Args:
        data: Path of the YAML or of a folder with one, or the name of a dataset that Ultralytics ships.

    Raises:
        DataError: If Ultralytics cannot use it as it is; nothing is downloaded.
    """
    from yolo_stability.compat.ultralytics import dataset_config

    try:
        return dataset_config(data)
    except Exception as err:  # Ultralytics checks little, and any type may come out
        said = " ".join(str(err).replace("❌", "").split())[:300].rstrip(" .")
        raise DataError(
            f"Ultralytics cannot use the data YAML {data}: {said or type(err).__name__}."
        ) from err


def images_of(places: str | Sequence[str], split: str) -> list[str]:
    """Return the images of a split in Ultralytics' order; a test compares it.

    Args:
        places: One or more folders, or text files that list images.
        split: Name of the split, for the complaint.

    Returns:
        Paths as Ultralytics forms them; those from a list need not exist.

    Raises:
        DataError: If a place does not exist or cannot be read, or no image is there.
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
                f"The {split} set is at {place}, which does not exist. Correct '{split}:' in the data YAML."
            )
    images = sorted(
        x.replace("/", os.sep) for x in found if f".{x.rpartition('.')[-1].lower()}" in SUFFIXES
    )
    if not images:
        raise DataError(
            f"The {split} set {places if isinstance(places, str) else ', '.join(places)} holds no image."
            f" Put images there, or correct '{split}:' in the data YAML."
        )
    return images


def _listed(path: Path) -> list[str]:
    """Return the lines of an image list; those that start with ./ are relative to it."""
    try:
        lines = path.read_text(encoding="utf-8-sig").strip().splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise DataError(f"Cannot read the image list {path}: {err}.") from err
    parent = str(path.parent) + os.sep
    return [line.replace("./", parent, 1) if line.startswith("./") else line for line in lines]


def label_file(image: str) -> str:
    """Return the label file of an image: the last folder `images` becomes `labels`."""
    inside, labels = f"{os.sep}images{os.sep}", f"{os.sep}labels{os.sep}"
    return labels.join(image.rsplit(inside, 1)).rsplit(".", 1)[0] + ".txt"


def cache_file(images: Sequence[str]) -> Path:
    """Return where Ultralytics keeps its scan of a split: beside the folder of the first label file."""
    return Path(label_file(images[0])).parent.with_suffix(".cache")


def unfinished_jpeg(path: str | Path) -> bool:
    """Return whether a file starts like a JPEG but does not end like one, which Ultralytics repairs in place.

    Raises:
        OSError: If it cannot be read.
    """
    with open(path, "rb") as file:  # noqa: PTH123 - called once for each image; a Path is slower
        if file.read(2) != b"\xff\xd8":
            return False
        file.seek(-2, os.SEEK_END)
        return file.read(2) != b"\xff\xd9"


def unread_labels(images: Iterable[str]) -> list[str]:
    """Return label files that have no image beside them, so that nothing ever reads them.

    Args:
        images: The images of all splits.

    Returns:
        Paths, sorted; only folders that hold labels of these images are looked at.
    """
    pairs: dict[str, str] = {}
    for image in images:
        pairs.setdefault(os.path.dirname(label_file(image)), os.path.dirname(image))  # noqa: PTH120
    unread: list[str] = []
    for labels, pictures in pairs.items():
        if labels == pictures or not os.path.isdir(labels) or not os.path.isdir(pictures):  # noqa: PTH112
            continue  # labels beside images: any text file may lie there
        with os.scandir(pictures) as entries:
            stems = {
                e.name.rsplit(".", 1)[0] for e in entries if Path(e.name).suffix.lower() in SUFFIXES
            }
        with os.scandir(labels) as entries:
            names = [e.name for e in entries if e.name.endswith(".txt") and e.name != "classes.txt"]
        unread += [os.path.join(labels, name) for name in names if name[:-4] not in stems]  # noqa: PTH118
    return sorted(unread)
