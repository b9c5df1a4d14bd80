"""Boxes smaller than a pixel, as of labels that were divided by the image size twice."""

from __future__ import annotations

import numpy as np

from yolo_stability.data.check.checks._base import BOX, SplitCheck, graded
from yolo_stability.data.check.dataset import Dataset, DataSplit
from yolo_stability.data.check.findings import Found

__all__ = ["Specks"]

PIXEL = 1.001
"""Largest side in pixels: a box as wide as its image, divided twice, is one pixel wide."""
IN_FILE = {"damage": 0.02, "warning": 0.001}
AT_IMGSZ = {"damage": 0.5, "warning": 0.02}
"""Shares for boxes that are larger in the file and only vanish at the training's image size."""


class Specks(SplitCheck):
    """Boxes whose longer side is below a pixel."""

    thing = BOX
    why = "smaller than a pixel"
    twice = (
        "No object is that small: the labels were probably divided by the image size twice. Box "
        "and DFL loss stay near 0 and so does mAP. Write them as fractions of the image once."
    )
    shrunk = (
        "They are larger in the file and vanish at imgsz={imgsz}: nothing can be learned from "
        "them. Raise imgsz=, or cut the images into tiles."
    )

    def look(self, split: DataSplit, data: Dataset) -> Found | None:
        """Return the finding in one split, or None."""
        sides = split.boxes[:, 2:]
        in_file = (sides * split.sizes).max(axis=1, initial=0)
        scale = data.imgsz / np.maximum(split.sizes.max(axis=1, initial=0), 1)
        solid = (sides > 0).all(axis=1)
        tiny = solid & (in_file <= PIXEL)
        bad = tiny | (solid & (in_file * scale <= PIXEL))
        if not bad.any():
            return None
        twice = 2 * tiny.sum() >= bad.sum()
        severity = graded(int(bad.sum()), len(bad), **(IN_FILE if twice else AT_IMGSZ))
        message = self.twice if twice else self.shrunk.format(imgsz=data.imgsz)
        return self.of_boxes(split, bad, severity, message=message)
