"""COCO's folder layout: annotation files and images of each split."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from yolo_stability.core.errors import DataError
from yolo_stability.data.files import SUFFIXES

__all__ = ["PREFIXES", "Split", "find_splits", "has_yaml", "image_listing", "is_coco"]

PREFIXES = {"detect": "instances_", "segment": "instances_", "pose": "person_keypoints_"}
"""Prefix of an annotation file's name, by task; other tasks have no COCO form here."""

SPLITS = {"train": "train", "val": "val"}
"""Split by the start of a file name; `val` covers `valid`. Test sets are not needed to train."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One annotation file and the folders that may contain its images.

    Attributes:
        name: train or val.
        annotations: The JSON file.
        folders: Existing folders that may contain the images, most likely first.
    """

    name: str
    annotations: Path
    folders: tuple[Path, ...]


def has_yaml(folder: Path) -> bool:
    """Return whether a folder directly contains a data YAML, which Ultralytics reads itself."""
    return any(True for pattern in ("*.yaml", "*.yml") for _ in folder.glob(pattern))


def is_coco(folder: Path) -> bool:
    """Return whether a folder has `annotations/` with COCO files for a known task."""
    return any(
        True
        for prefix in set(PREFIXES.values())
        for _ in (folder / "annotations").glob(f"{prefix}*.json")
    )


def find_splits(folder: Path, task: str) -> tuple[Split, ...]:
    """Find the splits of a COCO folder, train first.

    Args:
        folder: Folder with `annotations/`.
        task: detect, segment or pose.

    Returns:
        One entry each for train and val.

    Raises:
        DataError: The task has no COCO form, a split is missing, or two files match the same split.
    """
    if task not in PREFIXES:
        raise DataError(
            f"A COCO folder supports detect, segment and pose, not {task}: {folder}. Pass a data "
            f"YAML for {task}."
        )
    found: dict[str, Split] = {}
    for path in sorted((folder / "annotations").glob(f"{PREFIXES[task]}*.json")):
        source = path.stem.removeprefix(PREFIXES[task])
        name = next((split for start, split in SPLITS.items() if source.startswith(start)), None)
        if name is None:
            continue
        if name in found:
            raise DataError(
                f"Both {found[name].annotations.name} and {path.name} in {path.parent} are {name} "
                "sets. Keep one of them, or pass a data YAML."
            )
        found[name] = Split(name=name, annotations=path, folders=tuple(_folders(folder, source)))
    for name in ("train", "val"):
        if name not in found:
            there = sorted(p.name for p in (folder / "annotations").glob("*.json"))
            raise DataError(
                f"{folder} has no {name} set for {task}: annotations/{PREFIXES[task]}{name}*.json "
                f"is missing (found {', '.join(there) or 'no JSON'}). Add it, or pass a data YAML."
            )
    return (found["train"], found["val"])


def _folders(folder: Path, source: str) -> Iterator[Path]:
    """Yield the existing folders that may contain the images of `source`, such as `train2017`."""
    for path in (folder / source, folder / "images" / source, folder / "images", folder):
        if path.is_dir():
            yield path


def image_listing(folder: Path) -> Iterator[str]:
    """Yield path and size of every image below a folder in a fixed order, following links once.

    Args:
        folder: Folder of the user; it is only read.

    Yields:
        Path relative to the folder and size in bytes, one string per image.
    """
    seen: set[str] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:  # a link to a parent folder
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for name in sorted(files):
            path = Path(parent, name)
            if path.suffix.lower() in SUFFIXES and path.is_file():
                yield f"{path.relative_to(folder).as_posix()} {path.stat().st_size}"
