"""Label files that no image reads."""

from __future__ import annotations

from collections.abc import Iterator

from yolo_stability.data.check.checks._base import DataCheck
from yolo_stability.data.check.dataset import Dataset, relative
from yolo_stability.data.check.findings import DAMAGE, Found
from yolo_stability.data.files import unread_labels

__all__ = ["Unread"]


class Unread(DataCheck):
    """Label files without an image of that name, in the folders of labels that are read."""

    thing = ("label file", "label files")
    why = "without an image"
    message = (
        "Ultralytics looks for the labels of images and never reads these. Rename them like their "
        "images, or add the images."
    )

    def find(self, data: Dataset) -> Iterator[Found]:
        """Yield the finding, if there are such files."""
        images = [image for split in data.splits.values() for image in split.images]
        unread = unread_labels(image.path for image in images)
        if unread:
            of = len(unread) + sum(image.labeled for image in images)
            examples = [relative(path, data.base) for path in unread]
            yield self.found("all", DAMAGE, len(unread), of, examples)
