"""Reader of COCO annotation files and their categories, with one-sentence errors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolo_stability.core.errors import DataError, printable

__all__ = ["COCO_KEYPOINTS", "Classes", "classes_of", "read_annotations"]

COCO_KEYPOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee",
    "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
"""Keypoints of a category that does not name its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """Classes of a dataset over all its splits.

    Attributes:
        index: Class number, from 0, by category id.
        names: Class names in order of class number.
        keypoints: Names of the keypoints; empty unless the task is pose.
    """

    index: Mapping[Any, int]
    names: tuple[str, ...]
    keypoints: tuple[str, ...] = ()

    def flip(self) -> list[int]:
        """Return, for each keypoint, its index in the mirrored image, from left/right in names."""
        where = {name: i for i, name in enumerate(self.keypoints)}
        return [where.get(_mirror(name), i) for i, name in enumerate(self.keypoints)]


def _mirror(name: str) -> str:
    if "left" in name:
        return name.replace("left", "right")
    return name.replace("right", "left")


def read_annotations(path: Path, task: str) -> dict[str, Any]:
    """Read a COCO annotation file.

    Args:
        path: The JSON file; it is only read.
        task: Outlines, most of the file, are kept for `segment` only.

    Returns:
        Its content; `images`, `annotations` and `categories` are lists.

    Raises:
        DataError: It cannot be read, is not JSON, or lacks one of the three lists.
    """
    try:
        content = json.loads(
            path.read_bytes(), object_hook=None if task == "segment" else _without_outline
        )
    except OSError as err:
        raise DataError(f"Cannot read {path}: {err.strerror}.") from err
    except RecursionError as err:
        raise DataError(f"{path} is nested too deeply for COCO annotations.") from err
    except ValueError as err:
        raise DataError(
            f"{path} is not valid JSON ({err}); is it truncated? Copy or download it again."
        ) from err
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise DataError(
                f"{path} has no list '{key}', so it is not a COCO annotation file for training."
            )
    if not content["categories"]:
        raise DataError(f"{path} lists no categories, so its annotations have no class names.")
    return dict(content)


def _without_outline(entry: dict[str, Any]) -> dict[str, Any]:
    entry.pop("segmentation", None)
    return entry


def classes_of(documents: Iterable[tuple[Path, Mapping[str, Any]]], task: str) -> Classes:
    """Number the categories of all splits from 0 in the order of their ids.

    Args:
        documents: Path and content of each annotation file.
        task: For `pose`, only categories with keypoints count, if any has them.

    Returns:
        The classes.

    Raises:
        DataError: A category has no id or name, or the files contradict each other.
    """
    names: dict[Any, str] = {}
    keypoints: dict[Any, tuple[str, ...]] = {}
    for path, content in documents:
        for category in content["categories"]:
            identity, name, points = _category(category, path)
            if names.setdefault(identity, name) != name:
                raise DataError(
                    f"{path} calls category {identity} {name!r}, but it is {names[identity]!r} "
                    "elsewhere; class names must be the same in all annotation files."
                )
            keypoints.setdefault(identity, points)
    if task == "pose" and any(keypoints.values()):
        names = {identity: name for identity, name in names.items() if keypoints[identity]}
    order = sorted(names, key=lambda identity: (isinstance(identity, str), identity))
    layouts = (
        {keypoints[identity] or COCO_KEYPOINTS for identity in order} if task == "pose" else {()}
    )
    if len(layouts) > 1:
        raise DataError(
            "The categories have different keypoints; Ultralytics trains one keypoint layout at a "
            "time."
        )
    index = {identity: i for i, identity in enumerate(order)}
    return Classes(index=index, names=tuple(names[i] for i in order), keypoints=layouts.pop())


def _category(category: Any, path: Path) -> tuple[int | str, str, tuple[str, ...]]:
    """Return id, name and keypoint names of one entry of `categories`."""
    identity = category.get("id") if isinstance(category, dict) else None
    if (
        isinstance(identity, bool)
        or not isinstance(identity, int | str)
        or not isinstance(category.get("name"), str)
    ):
        raise DataError(f"{path} has a category without id or name: {str(category)[:80]}.")
    points = category.get("keypoints")
    named = tuple(_shown(str(p)) for p in points) if isinstance(points, list) else ()
    return identity, _shown(category["name"]), named


def _shown(name: str) -> str:
    """Return a name that is safe to print: Ultralytics prints class names."""
    return " ".join(printable(name).split("\n"))
