"""Search for the folder that probably holds the labels of a split."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from yolo_stability.data.check.dataset import Dataset, DataSplit
from yolo_stability.data.files import label_file

__all__ = ["LikelyFolder", "likely_folder"]

DEPTH, FOLDERS = 4, 2000
"""Limits of the search below the folder of the dataset."""
FORMATS = {".txt": "", ".xml": "Pascal VOC", ".json": "JSON"}
"""Suffixes of label files, and the name of a format that has to be converted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LikelyFolder:
    """A folder with files named like the images of a split.

    Attributes:
        folder: Path of the folder.
        count: Number of such files.
        suffix: Their suffix.
    """

    folder: str
    count: int
    suffix: str

    def advice(self, split: DataSplit) -> str:
        """Return what to do with the folder."""
        wanted = split.short(str(Path(label_file(split.images[0].path)).parent))
        here = split.short(self.folder)
        if FORMATS[self.suffix]:
            return f"Convert the {FORMATS[self.suffix]} files in {here} to YOLO rows in {wanted}."
        return f"The labels are probably those in {here}: move them to {wanted}."


def likely_folder(split: DataSplit, data: Dataset) -> LikelyFolder | None:
    """Return the folder with most files named like a split's images; None if there is none.

    Args:
        split: A split without label files.
        data: The whole dataset; folders that label another split are not considered.
    """
    stems = {Path(image.path).stem for image in split.images}
    taken = {
        os.path.dirname(label_file(image.path))  # noqa: PTH120 - called for every image
        for other in data.splits.values()
        for image in other.kept
        if image.labeled
    }
    found = []
    for folder in _folders(split, data):
        if folder in taken:
            continue
        for suffix in FORMATS:
            with os.scandir(folder) as entries:
                count = sum(
                    e.name.endswith(suffix) and e.name[: -len(suffix)] in stems for e in entries
                )
            if count:
                found.append(LikelyFolder(folder=folder, count=count, suffix=suffix))
                break
    return max(found, key=lambda one: one.count, default=None)


def _folders(split: DataSplit, data: Dataset) -> Iterator[str]:
    """Yield the folders around the expected labels and below the dataset, each once."""
    expected = Path(label_file(split.images[0].path)).parent
    near = [expected.parent, expected.parent.parent, Path(split.images[0].path).parent]
    roots = [root for root in (*near, data.root) if root.is_dir() and _below(root, data.root)]
    seen: set[str] = set()
    for root in roots:
        for place, names, _ in os.walk(root):
            deep = len(Path(place).relative_to(root).parts)
            names[:] = [] if deep >= DEPTH else [n for n in names if not n.startswith(".")]
            if place not in seen:
                seen.add(place)
                yield place
            if len(seen) >= FOLDERS:
                return


def _below(folder: Path, root: Path) -> bool:
    """Return whether a folder is the dataset's or below it, so that no foreign disk is searched."""
    return folder == root or root in folder.parents
