"""Cleaning of one COCO annotation for Ultralytics' converter: pure functions, no files.

Ultralytics ignores a whole image for one coordinate outside it, so coordinates are clipped here,
and unusable annotations are skipped with a reason.
"""

from __future__ import annotations

import math
from typing import Any

from yolo_stability.data.coco.import_report import ReasonCounts

__all__ = ["Unusable", "clean_box", "clean_keypoints", "clean_polygons"]

SLACK = 1.0
"""Pixels by which a box may exceed its image unreported; COCO's own boxes do, by rounding."""


class Unusable(Exception):
    """An annotation that cannot become a label; its text is the counted reason."""


def float_of(value: Any) -> float:
    """Return a JSON value as a float; NaN if it is not a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


def clean_box(
    value: Any, size: tuple[float, float], tally: ReasonCounts, where: str
) -> list[float]:
    """Check a COCO box and clip it to its image.

    Args:
        value: `[x, y, width, height]` in pixels, from the file.
        size: Width and height of the image, pixels.
        tally: Counts the clipped boxes.
        where: Identifies the annotation.

    Returns:
        The box, inside the image, with a positive area.

    Raises:
        Unusable: Not a box, without area, or outside the image.

    Example:
        >>> clean_box([-5, 0, 15, 10], (100.0, 80.0), ReasonCounts(), "annotation 1")
        [0.0, 0.0, 10.0, 10.0]
    """
    if not isinstance(value, list | tuple) or len(value) != 4:
        raise Unusable("without a box of four numbers")
    x, y, width, height = (float_of(v) for v in value)
    if not all(math.isfinite(v) for v in (x, y, width, height)):
        raise Unusable("box not finite")
    if width < 0 or height < 0:
        raise Unusable("box with negative size")
    if width == 0 or height == 0:
        raise Unusable("box without area")
    left, top = max(x, 0.0), max(y, 0.0)
    right, bottom = min(x + width, size[0]), min(y + height, size[1])
    if right <= left or bottom <= top:
        raise Unusable("box outside its image")
    if max(left - x, top - y, x + width - right, y + height - bottom) > SLACK:
        tally.add("box cut to its image", where)
    box = [left, top, right - left, bottom - top]
    # A box so thin that it is printed as 0 would be a label without area.
    if min(box[2] / size[0], box[3] / size[1]) < 1e-6:
        raise Unusable("box without area")
    return box


def clean_keypoints(
    value: Any, count: int, size: tuple[float, float], tally: ReasonCounts, where: str
) -> list[float]:
    """Check the keypoints of one object; an unusable point becomes unlabeled.

    Args:
        value: `[x, y, visibility] * count` in pixels, from the file.
        count: Number of keypoints of the category.
        size: Width and height of the image, pixels.
        tally: Counts the points that lose their label.
        where: Identifies the annotation.

    Returns:
        3 * count numbers; visibility is 0, 1 or 2, and unlabeled points are (0, 0, 0).

    Raises:
        Unusable: The length is wrong or no keypoint is labeled.

    Example:
        >>> clean_keypoints([5, 5, 2, 200, 5, 2], 2, (100.0, 80.0), ReasonCounts(), "annotation 1")
        [5.0, 5.0, 2.0, 0, 0, 0]
    """
    if value is None or value == []:
        raise Unusable("without labelled keypoints")
    if not isinstance(value, list | tuple) or len(value) != 3 * count:
        raise Unusable(f"keypoint list not 3 x {count} long")
    points: list[float] = []
    for x, y, visible in zip(*(map(float_of, value[i::3]) for i in range(3)), strict=True):
        if visible == 0:
            points += [0, 0, 0]
        elif visible in {1, 2} and 0 <= x <= size[0] and 0 <= y <= size[1]:
            points += [x, y, visible]
        else:
            tally.add("keypoint outside its image or invalid, now unlabelled", where)
            points += [0, 0, 0]
    if not any(points[2::3]):
        raise Unusable("without labelled keypoints")
    return points


def clean_polygons(value: Any, size: tuple[float, float], tally: ReasonCounts, where: str) -> Any:
    """Check an outline: RLE masks pass unchanged, polygons are clipped to the image per point.

    Args:
        value: `segmentation` from the file.
        size: Width and height of the image, pixels.
        tally: Counts the outlines replaced by their box.
        where: Identifies the annotation.

    Returns:
        A list of flat polygons, an RLE mapping, or an empty list without a usable outline.

    Example:
        >>> polygons = [[0, 0, 200, 0, 0, 50]]
        >>> clean_polygons(polygons, (100.0, 80.0), ReasonCounts(), "annotation 1")
        [[0.0, 0.0, 100.0, 0.0, 0.0, 50.0]]
    """
    if isinstance(value, dict) and isinstance(value.get("counts"), list | str):
        return {"size": value.get("size"), "counts": value["counts"]}
    polygons = []
    for polygon in value if isinstance(value, list) else []:
        flat = [float_of(v) for v in polygon] if isinstance(polygon, list) else []
        if len(flat) < 6 or len(flat) % 2 or not all(math.isfinite(v) for v in flat):
            continue
        flat = [min(max(v, 0.0), size[i % 2]) for i, v in enumerate(flat)]
        if all(max(flat[i::2]) > min(flat[i::2]) for i in (0, 1)):
            polygons.append(flat)
    if not polygons:
        tally.add("without an outline, now its box", where)
    return polygons
