"""Images that nearly equal another one, such as neighboring frames of a video."""

from __future__ import annotations

from collections.abc import Iterator

from yolo_stability.data.check.checks._base import DataCheck
from yolo_stability.data.check.content import near_pairs
from yolo_stability.data.check.dataset import Dataset
from yolo_stability.data.check.findings import INFO, Found
from yolo_stability.data.files import LABEL_TASKS

__all__ = ["Near"]

MOST = 20_000
"""Largest number of images that are compared, since each has to be decoded."""


class Near(DataCheck):
    """Images of val, or of all splits, that nearly equal an image of train."""

    tasks = (*LABEL_TASKS, "classify")
    thing = ("image of val", "images of val")
    why = "nearly equal to an image of train"
    message = (
        "Copies saved once more, or neighboring frames of a video: where they show the same scene, "
        "metrics are too high. Split by video or place instead of by image."
    )

    def find(self, data: Dataset) -> Iterator[Found]:
        """Yield the finding, if val nearly repeats train."""
        train, val = data.splits.get("train"), data.splits.get("val")
        if train is None or val is None or data.one_folder:
            return
        both = [*train.kept, *val.kept]
        if len(both) > MOST:
            return
        equal = {image.path for group in data.equal for _, image in group}
        count = len(train.kept)
        near = {
            j - count: both[i].path
            for i, j, _ in near_pairs([image.path for image in both])
            if i < count <= j and both[j].path not in equal
        }
        if near:
            found = self.of_images(val, sorted(near), INFO)
            examples = [
                f"{val.short(val.kept[i].path)} ~ {val.short(near[i])}" for i in sorted(near)
            ]
            yield self.found("val", INFO, found.count, found.of, examples, pictures=found.pictures)
