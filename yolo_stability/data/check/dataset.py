"""Contents of a dataset as the checks see them: images, label rows and the data YAML."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolo_stability.data.check.content import equal_files
from yolo_stability.data.check.labels import NO_ROWS, LabelTable, Layout
from yolo_stability.data.check.levels import Levels
from yolo_stability.data.files import label_file

__all__ = ["DataSplit", "Dataset", "ImageFacts", "relative"]

Floats = NDArray[np.float32]


def relative(path: str, base: str) -> str:
    """Return a path relative to the folder of the dataset; unchanged if it is elsewhere."""
    return os.path.relpath(path, base) if path.startswith(base + os.sep) else path


@dataclass(slots=True)
class ImageFacts:
    """One image of a split.

    Attributes:
        path: Path of the image.
        kept: Whether Ultralytics trains on it.
        labeled: Whether it has a label file.
        size: Width and height in pixels, as trained; (0, 0) if it is ignored.
        table: Its label rows: class, box, then keypoints; outlines as their boxes.
        lines: Line numbers of these rows in the label file.
        outlined: Whether the rows were outlines.
        levels: Gray levels of an image with more than 8 bits a channel; None for any other.
        group: Index of its class folder; -1 except for classification.
        bytes: Size of the file.
        fault: Reason why it is ignored, a key of `KINDS`; empty if it is kept.
        columns: Number of columns of the row that is the reason.
    """

    path: str
    kept: bool = True
    labeled: bool = False
    size: tuple[int, int] = (0, 0)
    table: LabelTable = field(default_factory=lambda: NO_ROWS)
    lines: tuple[int, ...] = ()
    outlined: bool = False
    levels: Levels | None = None
    group: int = -1
    bytes: int = -1
    fault: str = ""
    columns: int = 0


@dataclass(frozen=True, kw_only=True)
class DataSplit:
    """Images of one split, and their boxes in one table.

    Attributes:
        name: train or val.
        images: All images, in Ultralytics' order.
        places: Folders or lists of images that the data YAML names for it.
        folders: Class folders, sorted; empty except for classification.
        base: Folder of the dataset; locations are shown relative to it.
    """

    name: str
    images: Sequence[ImageFacts]
    places: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    base: str = ""

    @cached_property
    def kept(self) -> list[ImageFacts]:
        """Images that Ultralytics trains on."""
        return [image for image in self.images if image.kept]

    @cached_property
    def owner(self) -> NDArray[np.int64]:
        """Index into `kept` of the image of each box, shape (boxes,)."""
        return np.repeat(np.arange(len(self.kept)), [len(i.table) for i in self.kept])

    @cached_property
    def classes(self) -> NDArray[np.int64]:
        """Class of each box, shape (boxes,)."""
        return self._columns(0, 1)[:, 0].astype(np.int64)

    @cached_property
    def boxes(self) -> Floats:
        """Normalized center x, center y, width and height of each box, shape (boxes, 4)."""
        return self._columns(1, 5)

    @cached_property
    def sizes(self) -> Floats:
        """Width and height in pixels of the image of each box, shape (boxes, 2)."""
        every = np.array([image.size for image in self.kept], dtype=np.float32).reshape(-1, 2)
        return every[self.owner]

    def keypoints(self, layout: Layout) -> Floats:
        """Return x, y and, with three dimensions, visibility; shape (boxes, keypoints, 2 or 3)."""
        points = self._columns(5, layout.pose_columns)
        return points.reshape(len(points), layout.keypoints, layout.dimensions)

    def _columns(self, first: int, last: int) -> Floats:
        tables = [image.table[:, first:last] for image in self.kept if len(image.table)]
        return np.concatenate(tables) if tables else np.zeros((0, last - first), dtype=np.float32)

    def row_of(self, box: int) -> tuple[ImageFacts, int]:
        """Return the image of a box and the index of its row there."""
        index = int(self.owner[box])
        first = int(np.searchsorted(self.owner, index))
        return self.kept[index], box - first

    def place(self, box: int) -> str:
        """Return where a box is labeled: file and line."""
        image, row = self.row_of(box)
        return f"{self.short(label_file(image.path))}:{image.lines[row]}"

    def short(self, path: str) -> str:
        """Return a path relative to the dataset."""
        return relative(path, self.base)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Everything that a check may look at.

    Attributes:
        task: detect, segment, pose, obb or classify.
        layout: Expected layout of the label rows.
        names: Names of the classes by index.
        splits: The splits by name, train first.
        config: The data YAML, with absolute paths; empty for classification.
        imgsz: Image size of the training in pixels.
        base: Folder of the dataset.
    """

    task: str
    layout: Layout
    names: Mapping[int, str]
    splits: Mapping[str, DataSplit]
    config: Mapping[str, Any]
    imgsz: int
    base: str

    @property
    def boxed(self) -> bool:
        """Whether rows are meant as boxes, so that their corners must be inside the image."""
        return self.task in {"detect", "pose"}

    @cached_property
    def one_folder(self) -> bool:
        """Whether train and val are the same images, as in coco8 and coco128."""
        if not {"train", "val"} <= self.splits.keys():
            return False
        train, val = (
            {os.path.realpath(image.path) for image in self.splits[name].images}
            for name in ("train", "val")
        )
        return train == val

    @cached_property
    def equal(self) -> list[list[tuple[str, ImageFacts]]]:
        """Groups of images with the same content, each with the name of its split."""
        every = [(name, image) for name, split in self.splits.items() for image in split.kept]
        groups = equal_files((image.path, image.bytes) for _, image in every)
        return [[every[i] for i in group] for group in groups]

    @cached_property
    def root(self) -> Path:
        """Folder of the dataset as a path."""
        return Path(self.base)
