"""Drawings of the set `shapes`: circles, squares and triangles on a textured background."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from yolo_stability.data.synthetic.canvas import SCALE, Canvas, background

__all__ = ["CATEGORIES", "draw"]

CATEGORIES: tuple[dict[str, Any], ...] = (
    {"id": 1, "name": "circle", "supercategory": "shape"},
    {"id": 2, "name": "square", "supercategory": "shape"},
    {"id": 3, "name": "triangle", "supercategory": "shape"},
)

HUES = {1: 4, 2: 60, 3: 112}
"""Hue of a class in OpenCV's units of 2 degrees: red, green, blue."""

CORNERS = {1: 40, 2: 4, 3: 3}
MAX_OVERLAP = 0.1


def draw(rng: np.random.Generator, size: int) -> tuple[NDArray[np.uint8], list[dict[str, Any]]]:
    """Draw one image with one to four shapes.

    Args:
        rng: The only source of randomness.
        size: Side of the image, pixels.

    Returns:
        The image, (size, size, 3) uint8 BGR, and its COCO annotations without ids; boxes xywh in
        pixels.
    """
    canvas = Canvas(background(rng, size))
    boxes: list[tuple[float, float, float, float]] = []
    annotations: list[dict[str, Any]] = []
    for _ in range(int(rng.integers(1, 5))):
        category = int(rng.integers(1, 4))
        points = _place(rng, category, size, boxes)
        if points is None:
            continue
        _paint(rng, canvas, category, points)
        x, y = points.min(axis=0).tolist()
        width, height = (points.max(axis=0) - points.min(axis=0)).tolist()
        boxes.append((x, y, width, height))
        annotations.append(
            {
                "category_id": category,
                "bbox": [round(v, 2) for v in (x, y, width, height)],
                "area": round(float(cv2.contourArea(points.astype(np.float32))), 2),
                "iscrowd": 0,
                "segmentation": [[round(v, 2) for v in points.reshape(-1).tolist()]],
            }
        )
    return canvas.picture(rng), annotations


def _place(
    rng: np.random.Generator,
    category: int,
    size: int,
    boxes: list[tuple[float, float, float, float]],
) -> NDArray[np.float64] | None:
    """Return the outline (n, 2) of a shape at a free position, in pixels; None without one."""
    for _ in range(20):
        radius = rng.uniform(0.08, 0.21) * size
        middle = rng.uniform(radius + 1, size - radius - 1, size=2)
        corners = CORNERS[category]
        turn = rng.uniform(0, 2 * math.pi)
        if category == 2:
            turn = math.pi / 4 + rng.uniform(-0.35, 0.35)
        if category == 3:
            turn = -math.pi / 2 + rng.uniform(-0.35, 0.35)
        angles = turn + 2 * math.pi * np.arange(corners) / corners
        points: NDArray[np.float64] = middle + radius * np.stack(
            [np.cos(angles), np.sin(angles)], axis=1
        )
        x, y = points.min(axis=0).tolist()
        width, height = (points.max(axis=0) - points.min(axis=0)).tolist()
        if all(_overlap((x, y, width, height), box) <= MAX_OVERLAP for box in boxes):
            return points
    return None


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Return the intersection over union of two xywh boxes."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def _paint(
    rng: np.random.Generator, canvas: Canvas, category: int, points: NDArray[np.float64]
) -> None:
    hue = (HUES[category] + int(rng.integers(-14, 15))) % 180
    pixel = np.array([[[hue, rng.integers(140, 256), rng.integers(150, 256)]]], dtype=np.uint8)
    color = cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR)[0, 0].tolist()
    outline = [int(v) // 3 for v in color]
    canvas.polygon(points, color)
    canvas.outline(points, outline, thickness=SCALE)
