"""A `flip_idx` that does not name the mirror image of every keypoint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from yolo_stability.data.check.checks._base import DataCheck
from yolo_stability.data.check.dataset import Dataset, DataSplit
from yolo_stability.data.check.findings import DAMAGE, Found
from yolo_stability.data.check.labels import Layout

__all__ = ["FlipIdx"]

FEWEST = 20
"""Minimum number of objects that show both keypoints of a pair."""
HEIGHT = 0.2
"""Difference in mean height, as a share of the box, above which keypoints are no mirror images."""


class FlipIdx(DataCheck):
    """Entries of `flip_idx` that a flip of the image would apply wrongly."""

    tasks = ("pose",)
    thing = ("entry of flip_idx", "entries of flip_idx")

    def find(self, data: Dataset) -> Iterator[Found]:
        """Yield the finding, if the data YAML has a `flip_idx` that is wrong."""
        flip = data.config.get("flip_idx")
        if not flip:  # Ultralytics then flips no image, and logs it
            return
        for wrong, why, effect in _faults(flip, data):
            if wrong:
                yield self.found(
                    "all",
                    DAMAGE,
                    len(wrong),
                    len(flip),
                    [
                        f"flip_idx[{i}] = {flip[i]}" if i < len(flip) else f"{i} is missing"
                        for i in wrong
                    ],
                    why=why,
                    message=f"{effect} Correct flip_idx in the data YAML, or train with fliplr=0.",
                )
                return


def _faults(flip: list[Any], data: Dataset) -> Iterator[tuple[list[int], str, str]]:
    """Yield the wrong entries, what is wrong with them and its effect; most severe first."""
    count = data.layout.keypoints
    if len(flip) != count:
        wrong = list(range(min(len(flip), count), max(len(flip), count)))
        yield wrong, f"too many or missing for {count} keypoints", "Ultralytics refuses to train."
        return
    wrong = [i for i, v in enumerate(flip) if not isinstance(v, int) or not 0 <= v < count]
    yield wrong, "that is no keypoint", "The first flipped batch fails with an IndexError."
    if wrong:
        return
    swapped = "Half of all images would be trained with swapped or lost keypoints."
    yield [i for i in range(count) if flip[flip[i]] != i], "that is not mutual", swapped
    yield _unlike(flip, _names(data, count)), "whose names are not left and right", swapped
    if (train := data.splits.get("train")) is not None:
        yield _uneven(flip, train, data.layout), "that pairs different heights", swapped


def _names(data: Dataset, count: int) -> list[str]:
    """Return the names of the keypoints in the data YAML; empty if it has none."""
    given = data.config.get("kpt_names")
    first: Any = next(iter(given.values()), []) if isinstance(given, dict) else given
    names = first if isinstance(first, list) else given
    return (
        [str(name).lower() for name in names]
        if isinstance(names, list) and len(names) == count
        else []
    )


def _unlike(flip: list[int], names: list[str]) -> list[int]:
    """Return the entries whose names are not the same with left and right exchanged."""

    def mirrored(name: str) -> str:
        return name.replace("left", "\0").replace("right", "left").replace("\0", "right")

    sided = {i: mirrored(name) for i, name in enumerate(names) if mirrored(name) != name}
    return [i for i, other in sided.items() if other in names and names[flip[i]] != other]


def _uneven(flip: list[int], split: DataSplit, layout: Layout) -> list[int]:
    """Return the entries whose keypoints are at different heights in the boxes, on average."""
    points = split.keypoints(layout)
    shown = points[..., 2] != 0 if layout.dimensions == 3 else points[..., 0] > 0
    height = np.maximum(split.boxes[:, None, 3], 1e-6)
    place = (points[..., 1] - split.boxes[:, None, 1]) / height
    wrong = []
    for i, other in enumerate(flip):
        both = shown[:, i] & shown[:, other]
        if (
            both.sum() >= FEWEST
            and abs(float((place[both, i] - place[both, other]).mean())) > HEIGHT
        ):
            wrong.append(i)
    return wrong
