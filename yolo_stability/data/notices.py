"""Notices, before a training starts, of files it will write into the user's folders."""

from __future__ import annotations

import os

from yolo_stability.core.errors import DataError
from yolo_stability.data.files import (
    LABEL_TASKS,
    cache_file,
    images_of,
    plain_config,
    unfinished_jpeg,
)

__all__ = ["announce"]

CHEAP = 5000
"""Maximum number of images whose JPEG end markers are checked; takes about a second."""
SHOWN = 3


def announce(data: str, task: str) -> tuple[str, ...]:
    """Return notices of what Ultralytics will write beside the images and labels of a data YAML.

    Args:
        data: Dataset as Ultralytics accepts it; for an invalid one it reports the error itself.
        task: Task of the model.

    Returns:
        At most two sentences.
    """
    if task not in LABEL_TASKS:
        return ()
    try:
        config = plain_config(data)
        splits = [
            images_of(config[split], split) for split in ("train", "val") if config.get(split)
        ]
    except DataError:
        return ()
    notes = []
    caches = [
        path
        for path in dict.fromkeys(map(cache_file, splits))
        if not path.exists() and _writable(path.parent)
    ]
    if caches:
        notes.append(
            f"Ultralytics will write {' and '.join(map(str, caches))} (its scan of the labels)"
        )
    images = [image for split in splits for image in split]
    if len(images) <= CHEAP and (early := [image for image in images if _ends_early(image)]):
        shown = ", ".join(early[:SHOWN]) + (", ..." if len(early) > SHOWN else "")
        count = "1 JPEG has" if len(early) == 1 else f"{len(early)} JPEGs have"
        notes.append(
            f"{count} no end marker; Ultralytics will rewrite what it can decode of them: {shown}"
        )
    return tuple(notes)


def _writable(folder: os.PathLike[str]) -> bool:
    return os.access(folder, os.W_OK)


def _ends_early(image: str) -> bool:
    try:
        return unfinished_jpeg(image)
    except OSError:
        return False
