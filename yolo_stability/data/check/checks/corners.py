"""Label rows that hold corners (x1 y1 x2 y2) where YOLO reads center and size."""

from __future__ import annotations

from yolo_stability.data.check.checks._base import BOX, SplitCheck
from yolo_stability.data.check.checks._geometry import ROUNDING, are_corners, reach
from yolo_stability.data.check.dataset import Dataset, DataSplit
from yolo_stability.data.check.findings import DAMAGE, Found

__all__ = ["Corners"]


class Corners(SplitCheck):
    """Boxes beyond the image in rows that read like corners."""

    thing = BOX
    why = "beyond the image, because rows read like x1 y1 x2 y2"
    message = (
        "Every row has its third number above the first and its fourth above the second: corners, "
        "which Ultralytics reads as center and size. It would learn and measure other boxes than "
        "the drawn ones. Convert them to x_center y_center width height."
    )

    def look(self, split: DataSplit, data: Dataset) -> Found | None:
        """Return the finding in one split, or None."""
        if not data.boxed or not are_corners(split.boxes):
            return None
        return self.of_boxes(split, reach(split.boxes) > ROUNDING, DAMAGE)
