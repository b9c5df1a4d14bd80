"""Keypoints far outside their boxes, as under a wrong `kpt_shape` or order of columns."""

from __future__ import annotations

import numpy as np

from yolo_stability.data.check.checks._base import SplitCheck, graded
from yolo_stability.data.check.dataset import Dataset, DataSplit
from yolo_stability.data.check.findings import INFO, Found

__all__ = ["KptOutside"]

FEWEST = 10
DAMAGE_SHARE, WARNING_SHARE = 0.5, 0.2
"""Shares of the visible keypoints."""


class KptOutside(SplitCheck):
    """Boxes most of whose visible keypoints are outside the box enlarged to twice its size."""

    tasks = ("pose",)
    thing = ("box", "boxes")
    why = "with most keypoints far outside"
    message = (
        "The columns are probably not what kpt_shape: [{shape}] in the data YAML reads: wrong "
        "number of keypoints, values per keypoint, or order. The model would learn other points "
        "than the drawn ones."
    )

    def look(self, split: DataSplit, data: Dataset) -> Found | None:
        """Return the finding in one split, or None."""
        layout = data.layout
        points = split.keypoints(layout)
        visible = (points[..., :2] > 0).any(axis=2)
        if layout.dimensions == 3:
            visible &= points[..., 2] != 0
        if visible.sum() < FEWEST:
            return None
        away = np.abs(points[..., :2] - split.boxes[:, None, :2])
        outside = visible & (away > split.boxes[:, None, 2:]).any(axis=2)
        severity = graded(int(outside.sum()), int(visible.sum()), DAMAGE_SHARE, WARNING_SHARE)
        bad = outside.sum(axis=1) * 2 > visible.sum(axis=1)
        if severity == INFO or not bad.any():
            return None
        shape = f"{layout.keypoints}, {layout.dimensions}"
        return self.of_boxes(split, bad, severity, message=self.message.format(shape=shape))
