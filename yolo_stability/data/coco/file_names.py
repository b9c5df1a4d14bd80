"""Validation of file names from an untrusted JSON, before anything is opened or written."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from yolo_stability.core.errors import DataError

__all__ = ["ImageFinder", "LinkNames", "safe_name"]

DRIVE = re.compile(r"^[A-Za-z]:")
UNUSUAL = re.compile(r"[^\w.+@()\[\] -]")
"""Characters that might break the lines of an image list."""
LONGEST = 100
"""Maximum bytes of a stem; file systems allow 255 per name."""


def safe_name(value: Any, source: Path) -> str:
    """Return an image's `file_name` if it stays below its folder.

    Args:
        value: Value from the JSON.
        source: The JSON file, for error messages.

    Returns:
        A relative path with forward slashes.

    Raises:
        DataError: Not a name, absolute, with `..`, or with control characters.

    Example:
        >>> safe_name("train/1.jpg", Path("instances.json"))
        'train/1.jpg'
        >>> safe_name("../1.jpg", Path("instances.json"))
        Traceback (most recent call last):
        ...
        yolo_stability.core.errors.DataError: instances.json lists the image '../1.jpg', which \
would leave the dataset's folder; only names below it are read. Correct file_name.
    """
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{source} lists an image without a file_name.")
    shown = ascii(value[:120])
    if any(ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 for c in value):
        raise DataError(
            f"{source} lists the image {shown}, whose name has characters that no file can have."
        )
    parts = re.split(r"[\\/]", value)
    if parts[0] == "" or DRIVE.match(value) or ".." in parts:
        raise DataError(
            f"{source} lists the image {shown}, which would leave the dataset's folder;"
            " only names below it are read. Correct file_name."
        )
    return str(PurePosixPath(value))


class ImageFinder:
    """Finder of the images of one split, which rejects links out of the dataset.

    Args:
        root: Folder of the dataset.
        folder: Folder that the names of the split are relative to.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder = folder
        self._allowed = tuple(os.path.realpath(p) + os.sep for p in (root, folder))
        self._parents: dict[Path, bool] = {}

    def find(self, name: str) -> Path | None:
        """Return the absolute path of an image; None if there is no such file.

        Raises:
            DataError: The file, or a folder on its path, is a link out of the dataset.
        """
        path = self.folder / name
        if not os.path.isfile(path):  # noqa: PTH113 - pathlib raises on an overlong name
            return None
        parent = path.parent
        if parent not in self._parents:
            self._parents[parent] = self._inside(parent)
        if not self._parents[parent] or (path.is_symlink() and not self._inside(path)):
            raise DataError(
                f"{path} is a link out of {self.folder}; an import reads only files inside the "
                "dataset. Pass the folder that actually contains the images."
            )
        return Path(os.path.realpath(path))

    def _inside(self, path: Path) -> bool:
        return (os.path.realpath(path) + os.sep).startswith(self._allowed)


class LinkNames:
    """Generator of flat image names that are unique in a split: Ultralytics finds labels by stem.

    A subfolder becomes part of the name: a folder called `images` below `images/` would mislead
    Ultralytics.
    """

    def __init__(self) -> None:
        self._stems: set[str] = set()

    def take(self, name: str) -> str:
        """Return the link name for the file `name`: its own name if that is free."""
        path = PurePosixPath(UNUSUAL.sub("_", re.sub(r"[\\/]", "__", name)))
        # "ignore" drops a multi-byte character that the cut splits
        wish = path.stem.encode()[:LONGEST].decode(errors="ignore")
        stem, count = wish, 1
        while stem.casefold() in self._stems:
            count += 1
            stem = f"{wish}_{count}"
        self._stems.add(stem.casefold())
        return stem + path.suffix
