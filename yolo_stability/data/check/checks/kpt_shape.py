"""A `kpt_shape` that does not fit the number of columns of the label rows."""

from __future__ import annotations

from collections import Counter

from yolo_stability.data.check.checks._base import SplitCheck
from yolo_stability.data.check.dataset import Dataset, DataSplit
from yolo_stability.data.check.findings import DAMAGE, Found
from yolo_stability.data.files import label_file

__all__ = ["KptShape"]

MOST = 0.5
"""Share of the images that must be ignored for their columns: single bad rows are another kind."""


class KptShape(SplitCheck):
    """Label files whose rows have other columns than `kpt_shape` in the data YAML."""

    tasks = ("pose",)
    why = "whose rows do not fit kpt_shape"

    def look(self, split: DataSplit, data: Dataset) -> Found | None:
        """Return the finding in one split, or None."""
        bad = [image for image in split.images if image.fault == "columns"]
        if len(bad) <= MOST * len(split.images):
            return None
        columns = Counter(image.columns for image in bad).most_common(1)[0][0]
        layout = data.layout
        message = (
            f"kpt_shape: [{layout.keypoints}, {layout.dimensions}] in the data YAML needs "
            f"{layout.pose_columns} columns, the rows have {columns}: {_advice(columns)}. "
            "Ultralytics ignores these images."
        )
        return self.found(
            split.name,
            DAMAGE,
            len(bad),
            len(split.images),
            [split.short(label_file(image.path)) for image in bad],
            message=message,
        )


def _advice(columns: int) -> str:
    """Return what the number of columns suggests."""
    numbers = columns - 5
    if numbers <= 0:
        return "they hold boxes without keypoints"
    fits = [f"[{numbers // size}, {size}]" for size in (3, 2) if numbers % size == 0]
    return f"that is kpt_shape: {' or '.join(fits)}" if fits else "that fits no kpt_shape"
