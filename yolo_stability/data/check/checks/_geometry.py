"""Geometry of normalized boxes, shared by the checks of boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["are_corners", "reach"]

FEWEST = 10
"""Minimum number of rows from which a pattern of all rows is read."""
ALL = 0.98
"""Share of the rows that must follow the pattern."""
BEYOND = 0.1
"""Share of the boxes that must reach beyond the image for rows to count as corners."""
ROUNDING = 0.01

Boxes = NDArray[np.float32]


def reach(boxes: Boxes) -> NDArray[np.float32]:
    """Return how far each box reaches beyond its image, as a share of the image's side.

    Args:
        boxes: Normalized center x, center y, width and height, shape (boxes, 4).

    Example:
        >>> boxes = np.array([[0.5, 0.5, 1, 1], [0.9, 0.5, 0.5, 0.1]], dtype=np.float32)
        >>> [round(float(share), 2) for share in reach(boxes)]
        [0.0, 0.15]
    """
    center, half = boxes[:, :2], boxes[:, 2:4] / 2
    beyond = np.concatenate((half - center, center + half - 1), axis=1)
    return np.asarray(beyond.max(axis=1, initial=0), dtype=np.float32)


def are_corners(boxes: Boxes) -> bool:
    """Return whether rows that should hold centers and sizes look like x1 y1 x2 y2.

    In such rows the third number is above the first and the fourth above the second, in every row;
    as centers and sizes many of them reach beyond the image.

    Args:
        boxes: The four numbers of each row, shape (rows, 4).
    """
    if len(boxes) < FEWEST:
        return False
    ordered = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return bool(ordered.mean() >= ALL and (reach(boxes) > ROUNDING).mean() >= BEYOND)
