"""Keypoints at 0 0 that are trained as visible."""

from __future__ import annotations

import numpy as np

from yolo_stability.data.check.checks._base import SplitCheck, graded
from yolo_stability.data.check.dataset import Dataset, DataSplit
from yolo_stability.data.check.findings import Found

__all__ = ["KptZero"]

DAMAGE_SHARE = 0.01
EDGE = 0.005
"""Distance from the corner within which a keypoint of a box may really be at 0 0."""


class KptZero(SplitCheck):
    """Visible keypoints in the upper left corner."""

    tasks = ("pose",)
    thing = ("visible keypoint", "visible keypoints")
    why = "at 0 0"
    message = (
        "Ultralytics trains them as visible, so that the model learns to place hidden keypoints in "
        "the upper left corner. Write 0 0 0 with kpt_shape: [{keypoints}, 3], where the third "
        "number is the visibility."
    )

    def look(self, split: DataSplit, data: Dataset) -> Found | None:
        """Return the finding in one split, or None."""
        points = split.keypoints(data.layout)
        visible = points[..., 2] != 0 if data.layout.dimensions == 3 else points[..., 0] >= 0
        zero = visible & (points[..., 0] == 0) & (points[..., 1] == 0)
        affected = np.asarray(zero.any(axis=1), dtype=np.bool_)
        count, of = int(zero.sum()), int(visible.sum())
        low = split.boxes[:, :2] - split.boxes[:, 2:] / 2
        cornered = (low[:, 0] <= EDGE) & (low[:, 1] <= EDGE)
        if not count or (count < DAMAGE_SHARE * of and not (affected & ~cornered).any()):
            return None
        of_boxes = self.of_boxes(split, affected, graded(count, of, DAMAGE_SHARE, 0))
        return self.found(
            split.name,
            of_boxes.severity,
            count,
            of,
            of_boxes.examples,
            message=self.message.format(keypoints=data.layout.keypoints),
            pictures=of_boxes.pictures,
        )
