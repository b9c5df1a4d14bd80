"""Drawings of the set `figures`: jointed bodies with the 17 keypoints of COCO.

Every figure faces the viewer, so its left is on the right of the image; left and right limbs differ
in color, since otherwise they could not be distinguished.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolo_stability.data.synthetic.canvas import SCALE, Canvas, background

__all__ = ["CATEGORIES", "KEYPOINTS", "draw"]

KEYPOINTS = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)

SKELETON = (
    (16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9),
    (8, 10), (9, 11), (2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7),
)  # fmt: skip

CATEGORIES: tuple[dict[str, Any], ...] = (
    {
        "id": 1,
        "name": "person",
        "supercategory": "person",
        "keypoints": list(KEYPOINTS),
        "skeleton": [list(bone) for bone in SKELETON],
    },
)

Point = NDArray[np.float64]
Body = dict[str, Point]

COLORS = {
    "left_arm": (60, 60, 230),
    "right_arm": (230, 110, 40),
    "left_leg": (40, 170, 240),
    "right_leg": (90, 200, 60),
    "torso": (190, 190, 190),
    "skin": (150, 190, 235),
    "eye": (40, 30, 30),
    "nose": (60, 60, 170),
}
"""BGR."""


def draw(rng: np.random.Generator, size: int) -> tuple[NDArray[np.uint8], list[dict[str, Any]]]:
    """Draw one image with one or two figures.

    Args:
        rng: The only source of randomness.
        size: Side of the image, pixels.

    Returns:
        The image, (size, size, 3) uint8 BGR, and its COCO annotations without ids; boxes xywh and
        keypoints in pixels, visibility 0 (outside), 1 (hidden) or 2 (visible).
    """
    canvas = Canvas(background(rng, size))
    annotations: list[dict[str, Any]] = []
    for body, behind in _crowd(rng, size):
        colors = _dress(rng)
        _paint(canvas, body, behind, colors)
        annotations.append(_annotate(body, behind, size))
    return canvas.picture(rng), annotations


def _crowd(rng: np.random.Generator, size: int) -> list[tuple[Body, tuple[bool, bool]]]:
    """Return one tall or two slim figures, each with whether its (left, right) arm is behind."""
    bodies: list[tuple[Body, tuple[bool, bool]]] = []
    pair = rng.random() < 0.25
    for index in range(2 if pair else 1):
        height = rng.uniform(0.5, 0.62) * size if pair else rng.uniform(0.58, 0.82) * size
        span = (0.28, 0.72) if not pair else ((0.22, 0.28), (0.72, 0.78))[index]
        middle = np.array([rng.uniform(*span), rng.uniform(0.46, 0.54)]) * size
        behind = (bool(rng.random() < 0.15), bool(rng.random() < 0.15))
        bodies.append((_pose(rng, middle, height, behind), behind))
    return bodies


def _pose(
    rng: np.random.Generator, middle: Point, height: float, behind: tuple[bool, bool]
) -> Body:
    """Return the joints of a figure around `middle`, `height` pixels from crown to sole."""
    lean = rng.uniform(-0.15, 0.15)
    up = np.array([math.sin(lean), -math.cos(lean)])
    left = np.array([math.cos(lean), math.sin(lean)])  # the figure's left is the viewer's right
    hips = middle + 0.04 * height * -up
    body: Body = {"hips": hips, "neck": hips + 0.30 * height * up}
    body["head"] = body["neck"] + 0.12 * height * up
    tilt = rng.uniform(-0.2, 0.2)
    ahead = np.array([math.cos(lean + tilt), math.sin(lean + tilt)])
    crown = np.array([math.sin(lean + tilt), -math.cos(lean + tilt)])
    look = rng.uniform(-0.02, 0.02) * height * ahead
    body["nose"] = body["head"] + look - 0.012 * height * crown
    for side, sign in (("left", 1.0), ("right", -1.0)):
        body[f"{side}_eye"] = body["head"] + look + (sign * 0.034 * ahead + 0.025 * crown) * height
        body[f"{side}_ear"] = body["head"] + sign * 0.078 * height * ahead
        body[f"{side}_shoulder"] = body["neck"] + (sign * 0.115 * left - 0.03 * up) * height
        body[f"{side}_hip"] = hips + sign * 0.075 * height * left
        tucked = behind[0] if side == "left" else behind[1]
        raised = rng.uniform(0.25, 1.9) if not tucked else rng.uniform(0.1, 0.4)
        bend = rng.uniform(-0.3, 1.2) if not tucked else -rng.uniform(1.2, 1.9)
        _limb(
            body,
            (f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist"),
            sign,
            0.16 * height,
            (raised, bend),
        )
        spread = rng.uniform(0.02, 0.5)
        kick = rng.uniform(-0.35, 0.15)
        _limb(
            body,
            (f"{side}_hip", f"{side}_knee", f"{side}_ankle"),
            sign,
            0.215 * height,
            (spread, kick),
        )
    body["size"] = np.array([height])
    return body


def _limb(
    body: Body, names: tuple[str, str, str], sign: float, length: float, angles: tuple[float, float]
) -> None:
    """Add two joints of a limb; `angles` (radians) lift the first bone and bend the second."""
    upper, both = angles[0], angles[0] + angles[1]
    body[names[1]] = body[names[0]] + length * np.array([sign * math.sin(upper), math.cos(upper)])
    body[names[2]] = body[names[1]] + length * np.array([sign * math.sin(both), math.cos(both)])


def _dress(rng: np.random.Generator) -> dict[str, list[int]]:
    """Return the colors of one figure: small random changes to the common ones."""
    return {
        part: np.clip(np.array(color) + rng.integers(-22, 23, size=3), 1, 255).tolist()
        for part, color in COLORS.items()
    }


def _paint(
    canvas: Canvas, body: Body, behind: tuple[bool, bool], colors: dict[str, list[int]]
) -> None:
    """Paint from back to front: hidden arms, legs, torso, head, arms in front."""
    height = float(body["size"][0])
    width = 0.062 * height
    arms = {"left": behind[0], "right": behind[1]}

    def limb(side: str, part: str, joints: tuple[str, str, str]) -> None:
        a, b, c = (body[f"{side}_{joint}"] for joint in joints)
        canvas.limb(a, b, colors[f"{side}_{part}"], width)
        canvas.limb(b, c, colors[f"{side}_{part}"], width * 0.85)

    for side, hidden in arms.items():
        if hidden:
            limb(side, "arm", ("shoulder", "elbow", "wrist"))
        limb(side, "leg", ("hip", "knee", "ankle"))
    canvas.polygon(_torso(body), colors["torso"])
    canvas.limb(body["neck"], body["head"], colors["skin"], width)
    canvas.disc(body["head"], 0.082 * height, colors["skin"])
    for side in arms:
        canvas.disc(body[f"{side}_ear"], 0.022 * height, colors[f"{side}_arm"])
        canvas.disc(body[f"{side}_eye"], 0.016 * height, colors["eye"])
    canvas.disc(body["nose"], 0.016 * height, colors["nose"])
    for side, hidden in arms.items():
        if not hidden:
            limb(side, "arm", ("shoulder", "elbow", "wrist"))


def _torso(body: Body) -> Point:
    """Return the four corners of the torso, (4, 2)."""
    return np.stack(
        [body[f"{n}"] for n in ("left_shoulder", "right_shoulder", "right_hip", "left_hip")]
    )


def _annotate(body: Body, behind: tuple[bool, bool], size: int) -> dict[str, Any]:
    """Return the COCO annotation of a figure, with box and area from its painted pixels."""
    stencil = Canvas(np.zeros((size * SCALE, size * SCALE, 3), dtype=np.uint8))
    _paint(stencil, body, behind, {part: [255, 255, 255] for part in COLORS})
    rows, columns = np.nonzero(stencil.mask())
    x, y = columns.min() / SCALE, rows.min() / SCALE
    width, height = (columns.max() + 1) / SCALE - x, (rows.max() + 1) / SCALE - y
    keypoints: list[float] = []
    for name in KEYPOINTS:
        keypoints += _keypoint(body, name, behind, size)
    return {
        "category_id": 1,
        "bbox": [round(float(v), 2) for v in (x, y, width, height)],
        "area": round(len(rows) / SCALE**2, 2),
        "iscrowd": 0,
        "num_keypoints": sum(v > 0 for v in keypoints[2::3]),
        "keypoints": keypoints,
    }


def _keypoint(body: Body, name: str, behind: tuple[bool, bool], size: int) -> list[float]:
    """Return [x, y, visibility] of a joint: 0 outside the image, 1 behind the torso, 2 visible."""
    point = body[name]
    if not bool(((point >= 0) & (point <= size - 1)).all()):
        return [0, 0, 0]
    hidden = behind[0] if name.startswith("left") else behind[1]
    covered = hidden and name.endswith(("elbow", "wrist")) and _inside(point, _torso(body))
    return [round(float(point[0]), 2), round(float(point[1]), 2), 1 if covered else 2]


def _inside(point: Point, corners: Point) -> bool:
    """Return whether a point is inside a convex polygon of (n, 2) corners."""
    edges = np.roll(corners, -1, axis=0) - corners
    offsets = point - corners
    cross = edges[:, 0] * offsets[:, 1] - edges[:, 1] * offsets[:, 0]
    return bool((cross >= 0).all() or (cross <= 0).all())
