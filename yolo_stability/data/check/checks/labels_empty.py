"""Splits whose label files hold no row at all."""

from __future__ import annotations

from yolo_stability.data.check.checks._base import SplitCheck
from yolo_stability.data.check.dataset import Dataset, DataSplit
from yolo_stability.data.check.findings import DAMAGE, Found

__all__ = ["LabelsEmpty"]


class LabelsEmpty(SplitCheck):
    """Label files of a split, all of them empty."""

    thing = ("label file", "label files")
    why = "without a row, as all others of the split"
    effects = {  # noqa: RUF012 - read only
        "train": "Every image is trained as background: the model learns to find nothing.",
        "val": "Nothing can be measured: all metrics stay 0.",
    }

    def look(self, split: DataSplit, data: Dataset) -> Found | None:
        """Return the finding in one split, or None."""
        bare = [i for i, image in enumerate(split.kept) if image.labeled]
        if not bare or any(len(image.table) for image in split.kept):
            return None
        message = f"{self.effects.get(split.name, '')} Write the labels again."
        return self.of_images(split, bare, DAMAGE, labels=True, message=message)
