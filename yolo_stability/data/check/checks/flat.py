"""Boxes whose width or height is 0."""

from __future__ import annotations

from yolo_stability.data.check.checks._base import BOX, SplitCheck, graded
from yolo_stability.data.check.dataset import Dataset, DataSplit
from yolo_stability.data.check.findings import Found

__all__ = ["Flat"]

DAMAGE_SHARE = 0.1


class Flat(SplitCheck):
    """Boxes without an area."""

    thing = BOX
    why = "without an area"
    message = (
        "Ultralytics keeps them: no prediction can match them, so that they lower recall and mAP. "
        "Remove the rows; an image without an object needs an empty label file or none."
    )

    def look(self, split: DataSplit, data: Dataset) -> Found | None:
        """Return the finding in one split, or None."""
        bad = split.boxes[:, 2:].min(axis=1, initial=1) <= 0
        if not bad.any():
            return None
        return self.of_boxes(split, bad, graded(int(bad.sum()), len(bad), DAMAGE_SHARE, 0))
