"""Boxes that reach beyond the image, though center and size are valid numbers."""

from __future__ import annotations

import numpy as np

from yolo_stability.data.check.checks._base import BOX, SplitCheck, graded
from yolo_stability.data.check.checks._geometry import are_corners, reach
from yolo_stability.data.check.dataset import Dataset, DataSplit
from yolo_stability.data.check.findings import Found

__all__ = ["Beyond"]

MARGIN = 0.02
"""Share of the image's side up to which a box may reach beyond it: rounding, or a loose hand."""
DAMAGE_SHARE, WARNING_SHARE = 0.02, 0.001
UPPER_LEFT = 0.9
"""Share of such boxes that only reach beyond the left or upper side, if rows hold that corner."""


class Beyond(SplitCheck):
    """Boxes beyond the image."""

    thing = BOX
    why = "beyond the image"
    message = (
        "Training cuts them to the image, validation does not, so that no prediction can match "
        "them well. Cut them to the image, or correct the conversion of the labels."
    )
    corner = (
        " All rows would be inside the image if their first two numbers were the upper left "
        "corner: add half of the width and height."
    )

    def look(self, split: DataSplit, data: Dataset) -> Found | None:
        """Return the finding in one split, or None."""
        boxes = split.boxes
        bad = reach(boxes) > MARGIN
        if not data.boxed or not bad.any() or are_corners(boxes):
            return None
        severity = graded(int(bad.sum()), len(bad), DAMAGE_SHARE, WARNING_SHARE)
        inside = (boxes[:, :2] + boxes[:, 2:] <= 1 + MARGIN).all(axis=1)
        first = ((boxes[bad, :2] - boxes[bad, 2:] / 2) < -MARGIN).any(axis=1)
        cornered = bool(np.mean(inside) == 1 and np.mean(first) >= UPPER_LEFT and bad.sum() > 2)
        return self.of_boxes(
            split, bad, severity, message=self.message + (self.corner if cornered else "")
        )
