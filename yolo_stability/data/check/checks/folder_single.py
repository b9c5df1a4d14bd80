"""Classification sets whose training images are all of one class."""

from __future__ import annotations

from collections.abc import Iterator

from yolo_stability.data.check.checks._base import DataCheck
from yolo_stability.data.check.dataset import Dataset
from yolo_stability.data.check.findings import DAMAGE, Found

__all__ = ["FolderSingle"]


class FolderSingle(DataCheck):
    """One class folder with all images of train."""

    tasks = ("classify",)
    thing = ("class folder", "class folders")
    why = "with all images of train"
    message = (
        "With images of one class only, the loss is 0 and the accuracy 100 % without anything "
        "being learned. Add a folder of images without the object, such as train/other."
    )

    def find(self, data: Dataset) -> Iterator[Found]:
        """Yield the finding, if train has one class."""
        train = data.splits["train"]
        used = sorted({image.group for image in train.kept})
        if len(used) == 1:
            examples = [f"{train.short(train.places[0])}/{train.folders[used[0]]}"]
            yield self.found("train", DAMAGE, 1, len(train.folders), examples)
