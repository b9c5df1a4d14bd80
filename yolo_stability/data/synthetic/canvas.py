"""Image drawn large with OpenCV's integer primitives and downsampled in numpy.

Only convex polygons and lines are used: OpenCV 4.10 and 5.0 draw these identically, but not
circles, concave fills or anti-aliased edges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["SCALE", "Canvas", "background"]

SCALE = 4
"""Drawn pixels per image pixel and axis."""

NOISE = 6.0
"""Standard deviation of the pixel noise, in gray levels."""


def background(rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """Return a muted background with a color gradient and faint bars.

    Args:
        rng: The only source of randomness.
        size: Side of the final image, pixels.

    Returns:
        (size * SCALE, size * SCALE, 3) uint8 BGR.
    """
    side = size * SCALE
    gray = rng.uniform(60, 190)
    start, stop = gray + rng.uniform(-25, 25, size=(2, 3))
    ramp = np.linspace(0.0, 1.0, side)[:, None, None]
    if rng.random() < 0.5:
        ramp = ramp.transpose(1, 0, 2)
    field = np.broadcast_to(start + ramp * (stop - start), (side, side, 3))
    image: NDArray[np.uint8] = np.clip(np.rint(field), 0, 255).astype(np.uint8)
    for _ in range(int(rng.integers(2, 6))):
        ends = rng.integers(0, side, size=(2, 2)).tolist()
        color = np.clip(gray + rng.uniform(-35, 35, size=3), 0, 255).astype(int).tolist()
        cv2.line(image, ends[0], ends[1], color, int(rng.integers(1, 7)) * SCALE)
    return image


class Canvas:
    """Large image that is painted in coordinates of the final image.

    Args:
        image: (side * SCALE, side * SCALE, 3) uint8 BGR; painted in place.
    """

    def __init__(self, image: NDArray[np.uint8]) -> None:
        self.image = image

    def polygon(self, points: NDArray[np.float64], color: Sequence[int]) -> None:
        """Fill a convex polygon of (n, 2) points in pixels."""
        cv2.fillConvexPoly(self.image, _large(points), list(color))

    def outline(self, points: NDArray[np.float64], color: Sequence[int], thickness: int) -> None:
        """Draw the closed line through (n, 2) points; `thickness` in drawn pixels."""
        cv2.polylines(self.image, [_large(points)], True, list(color), thickness)

    def limb(
        self,
        start: NDArray[np.float64],
        end: NDArray[np.float64],
        color: Sequence[int],
        width: float,
    ) -> None:
        """Draw a thick line with round ends; `width` in pixels."""
        along = math.atan2(end[1] - start[1], end[0] - start[0])
        caps = [
            _arc(end, width / 2, along - math.pi / 2, math.pi),
            _arc(start, width / 2, along + math.pi / 2, math.pi),
        ]
        self.polygon(np.concatenate(caps), color)

    def disc(self, middle: NDArray[np.float64], radius: float, color: Sequence[int]) -> None:
        """Fill a circle; `radius` in pixels."""
        self.polygon(_arc(middle, radius, 0.0, 2 * math.pi), color)

    def picture(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Return the downsampled image with pixel noise, (side, side, 3) uint8 BGR."""
        side = self.image.shape[0] // SCALE
        mean = self.image.reshape(side, SCALE, side, SCALE, 3).mean(axis=(1, 3))
        noisy = mean + rng.normal(0.0, NOISE, size=mean.shape)
        result: NDArray[np.uint8] = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
        return result

    def mask(self) -> NDArray[np.bool_]:
        """Return a mask of all non-black pixels, (side * SCALE, side * SCALE)."""
        painted: NDArray[np.bool_] = self.image.max(axis=2) > 0
        return painted


def _arc(
    middle: NDArray[np.float64], radius: float, start: float, turn: float
) -> NDArray[np.float64]:
    """Return points (n, 2) on an arc of `turn` radians from angle `start`; pixels."""
    angles = start + turn * np.linspace(0.0, 1.0, 25)
    points: NDArray[np.float64] = middle + radius * np.stack(
        [np.cos(angles), np.sin(angles)], axis=1
    )
    return points


def _large(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return the drawn integer coordinates of points given in pixels."""
    drawn: NDArray[np.int32] = np.rint(points * SCALE).astype(np.int32)
    return drawn
