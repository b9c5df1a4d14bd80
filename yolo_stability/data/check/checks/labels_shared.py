"""Images that share one label file, because only their suffixes differ."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from yolo_stability.data.check.checks._base import DataCheck
from yolo_stability.data.check.content import unalike
from yolo_stability.data.check.dataset import Dataset, ImageFacts, relative
from yolo_stability.data.check.findings import DAMAGE, WARNING, Found
from yolo_stability.data.files import label_file

__all__ = ["LabelsShared"]

COMPARED = 200
"""Largest number of label files whose images are compared."""


class LabelsShared(DataCheck):
    """Label files that more than one image reads."""

    thing = ("label file", "label files")
    why = "read by several images"
    message = (
        "Images whose names differ in the suffix only have one label file, so that one picture is "
        "trained with the labels of another. Rename the images and give each its own."
    )
    same = "The images look alike: the picture is trained once for each suffix. Remove the copies."

    def find(self, data: Dataset) -> Iterator[Found]:
        """Yield the finding, if label files are shared."""
        readers: dict[str, dict[str, ImageFacts]] = defaultdict(dict)
        splits: dict[str, set[str]] = defaultdict(set)
        for name, split in data.splits.items():
            for image in split.kept:
                if image.labeled:
                    label = label_file(image.path)
                    readers[label][os.path.realpath(image.path)] = image
                    splits[label].add(name)
        shared = {label: list(them.values()) for label, them in readers.items() if len(them) > 1}
        if not shared:
            return
        pairs = [(images[0].path, images[1].path) for images in list(shared.values())[:COMPARED]]
        different = any(unalike(one, two) for one, two in pairs)
        among = set[str]().union(*(splits[label] for label in shared))
        yield self.found(
            next(iter(among)) if len(among) == 1 else "all",
            DAMAGE if different else WARNING,
            len(shared),
            sum(bool(names & among) for names in splits.values()),
            [
                f"{relative(label, data.base)}: {', '.join(Path(i.path).name for i in them)}"
                for label, them in shared.items()
            ],
            message=self.message if different else self.same,
        )
