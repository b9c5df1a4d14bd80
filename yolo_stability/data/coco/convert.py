"""Preparation of a COCO document for Ultralytics' converter, with a count of everything skipped.

The converter joins `file_name` unchecked, turns 0-based ids into class -1 and drops entries
silently; here names are checked, images and categories are renumbered from 1, and every loss has a
reason.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolo_stability.core.errors import DataError
from yolo_stability.data.coco.annotations import Classes
from yolo_stability.data.coco.file_names import ImageFinder, LinkNames, safe_name
from yolo_stability.data.coco.image_size import read_image_size
from yolo_stability.data.coco.import_report import ReasonCounts, SplitReport
from yolo_stability.data.coco.layout import Split
from yolo_stability.data.coco.sanitize import (
    Unusable,
    clean_box,
    clean_keypoints,
    clean_polygons,
    float_of,
)
from yolo_stability.data.files import SUFFIXES

__all__ = ["Renumbered", "renumber"]

TRIED = 1000
"""Number of images to look for before a folder counts as the wrong one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An existing image: new id, name in the cache, file, size in pixels."""

    identity: int
    name: str
    file: Path
    size: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Renumbered:
    """A split ready for the converter.

    Attributes:
        document: COCO JSON with ids from 1 and cache names for files; may be emptied once written.
        files: The user's file of each kept image, by cache name.
        report: What was kept and dropped.
    """

    document: dict[str, Any]
    files: Mapping[str, Path]
    report: SplitReport


@dataclass(slots=True)
class Losses:
    """Reason counts of a split."""

    annotations: ReasonCounts = field(default_factory=ReasonCounts)
    images: ReasonCounts = field(default_factory=ReasonCounts)
    changed: ReasonCounts = field(default_factory=ReasonCounts)
    doubts: ReasonCounts = field(default_factory=ReasonCounts)

    def examples(self) -> dict[str, list[str]]:
        """Return the first examples of every reason."""
        tallies = (self.annotations, self.images, self.changed, self.doubts)
        return {reason: places for tally in tallies for reason, places in tally.examples.items()}


def renumber(
    split: Split, content: Mapping[str, Any], classes: Classes, task: str, root: Path
) -> Renumbered:
    """Check and renumber one split.

    Args:
        split: Source of the annotations and images.
        content: The parsed annotation file; its annotations are released one by one.
        classes: Classes over all splits.
        task: detect, segment or pose; pose keeps only images with labeled people.
        root: Folder of the dataset.

    Returns:
        The split, ready to convert.

    Raises:
        DataError: A name leaves the folder, or nothing usable remains.
    """
    losses = Losses()
    images = _images(split, content["images"], losses, root)
    annotations = _annotations(content["annotations"], images, classes, task, losses)
    kept = {image.identity: image for image in images.values()}
    if task == "pose":
        labeled = {a["image_id"] for a in annotations}
        for image in [i for i in kept.values() if i.identity not in labeled]:
            losses.images.add("without labelled people", image.file.name)
            del kept[image.identity]
    if not annotations:
        why = (
            ", ".join(f"{n} {reason}" for reason, n in losses.annotations.counts.items())
            or "it lists none"
        )
        raise DataError(f"{split.annotations} has no usable annotation for {task}: {why}.")
    report = SplitReport(
        split=split.name,
        source=split.annotations.name,
        images_listed=len(content["images"]),
        images_kept=len(kept),
        annotations_listed=len(content["annotations"]),
        annotations_kept=len(annotations),
        dropped=losses.annotations.counts,
        images_dropped=losses.images.counts,
        changed=losses.changed.counts,
        doubts=losses.doubts.counts,
        examples=losses.examples(),
    )
    listed = [
        {"id": i.identity, "file_name": i.name, "width": i.size[0], "height": i.size[1]}
        for i in kept.values()
    ]
    document = {"images": listed, "annotations": annotations, "categories": []}
    return Renumbered(
        document=document, files={i.name: i.file for i in kept.values()}, report=report
    )


def _images(split: Split, entries: list[Any], losses: Losses, root: Path) -> dict[Hashable, Image]:
    """Return the existing images by their old id; entries for the same file share one image."""
    names = [
        safe_name(entry.get("file_name"), split.annotations)
        for entry in entries
        if isinstance(entry, dict)
    ]
    finder = ImageFinder(root, _folder(split, names))
    links = LinkNames()
    images: dict[Hashable, Image] = {}
    by_file: dict[Path, Image] = {}
    for entry in entries:
        name = entry["file_name"] if isinstance(entry, dict) else "?"
        try:
            identity = _identity(entry)
            if identity in images:
                raise Unusable("listed twice")
            file = finder.find(safe_name(name, split.annotations))
            size = _measure(entry, file, losses.doubts)
        except Unusable as reason:
            losses.images.add(str(reason), str(name))
            continue
        assert file is not None
        if file in by_file:
            losses.images.add("listed twice", str(name))
        else:
            by_file[file] = Image(
                identity=len(by_file) + 1, name=links.take(name), file=file, size=size
            )
        images[identity] = by_file[file]
    if not images:
        raise DataError(
            f"{split.annotations} lists no usable image: "
            f"{losses.images.counts or 'the list is empty'}."
        )
    return images


def _identity(entry: Any) -> Hashable:
    identity = entry.get("id") if isinstance(entry, dict) else None
    if isinstance(identity, bool) or not isinstance(identity, int | str):
        raise Unusable("without an id")
    return identity


def _measure(
    entry: Mapping[str, Any], file: Path | None, doubts: ReasonCounts
) -> tuple[float, float]:
    """Return width and height in pixels, from the entry or else the file; count contradictions."""
    if file is None:
        raise Unusable("file missing")
    if file.suffix.lower() not in SUFFIXES:
        raise Unusable("in a format that Ultralytics does not read")
    if file.stat().st_size == 0:
        raise Unusable("file empty")
    try:
        pixels = read_image_size(file)
    except ValueError:
        raise Unusable("file damaged") from None
    size = (float_of(entry.get("width")), float_of(entry.get("height")))
    if not all(0 < v < 1e6 for v in size):
        if pixels is None:
            raise Unusable("without a size")
        return pixels.upright
    if pixels and pixels.upright != size:
        # Boxes are divided by the stated size: correct for an image resized later, wrong for a
        # mistake in the JSON.
        stored = pixels.turned and pixels.upright == size[::-1]
        reason = (
            "annotated as stored, but turned by its EXIF tag"
            if stored
            else "size in the JSON is not the file's"
        )
        sizes = (f"{w:g}x{h:g}" for w, h in (size, pixels.upright))
        doubts.add(reason, "{}: JSON {}, file {}".format(str(entry["file_name"])[:80], *sizes))
    return size


def _folder(split: Split, names: Iterable[str]) -> Path:
    """Return the first folder that contains one of the images."""
    tried = list(names)[:TRIED]
    for folder in split.folders:
        if any(os.path.isfile(folder / name) for name in tried):  # noqa: PTH113 - overlong names
            return folder
    where = ", ".join(str(f) for f in split.folders)
    raise DataError(
        f"None of the images listed in {split.annotations} (first: "
        f"{tried[0] if tried else 'none listed'}) is in {where}. Put them into one of these "
        "folders."
    )


def _annotations(
    entries: list[Any],
    images: Mapping[Hashable, Image],
    classes: Classes,
    task: str,
    losses: Losses,
) -> list[dict[str, Any]]:
    """Return the usable annotations with new ids; count the others."""
    kept: list[dict[str, Any]] = []
    seen: set[Hashable] = set()
    for i, entry in enumerate(entries):
        entries[i] = None  # keeping both forms of a million annotations would take gigabytes
        try:
            annotation = _annotation(entry, images, classes, task, losses)
            key = (annotation["image_id"], annotation["category_id"], *annotation["bbox"])
            key += (*annotation.get("keypoints", ()), str(annotation.get("segmentation", "")))
            if key in seen:
                raise Unusable("duplicate")
        except Unusable as reason:
            losses.annotations.add(str(reason), _where(entry))
            continue
        seen.add(key)
        kept.append(annotation)
    return kept


def _where(entry: Any) -> str:
    if not isinstance(entry, dict):
        return f"annotation {str(entry)[:40]}"
    return f"annotation {str(entry.get('id'))[:40]} of image {str(entry.get('image_id'))[:40]}"


def _annotation(
    entry: Any, images: Mapping[Hashable, Image], classes: Classes, task: str, losses: Losses
) -> dict[str, Any]:
    """Return one annotation in the converter's format, or raise Unusable."""
    if not isinstance(entry, dict):
        raise Unusable("no annotation")
    image_id, category = entry.get("image_id"), entry.get("category_id")
    image = images.get(image_id) if isinstance(image_id, int | str) else None
    if image is None:
        raise Unusable("of an image that is not there")
    if entry.get("iscrowd"):
        raise Unusable("crowd")
    if (
        isinstance(category, bool)
        or not isinstance(category, int | str)
        or category not in classes.index
    ):
        raise Unusable("of an unknown category")
    where = _where(entry)
    result: dict[str, Any] = {
        "image_id": image.identity,
        "category_id": classes.index[category] + 1,
        "bbox": clean_box(entry.get("bbox"), image.size, losses.changed, where),
    }
    if task == "pose":
        count = len(classes.keypoints)
        result["keypoints"] = clean_keypoints(
            entry.get("keypoints"), count, image.size, losses.changed, where
        )
    elif task == "segment":
        outline = clean_polygons(entry.get("segmentation"), image.size, losses.changed, where)
        result["segmentation"] = outline or [_corners(result["bbox"])]
    return result


def _corners(box: list[float]) -> list[float]:
    """Return a box as a flat polygon; older converters skip objects without an outline."""
    x, y, width, height = box
    return [x, y, x + width, y, x + width, y + height, x, y + height]
