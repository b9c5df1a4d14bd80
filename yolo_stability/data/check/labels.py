"""One YOLO label file judged as Ultralytics judges it: pure functions, no files.

Ultralytics drops a whole image for one bad row and says so in a line of its scan that few people read. Here the row
and the reason are named. A test compares every judgement with Ultralytics' own, on files made up by hypothesis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LabelVerdict", "Layout", "classify_labels"]

HIGHEST, LOWEST = 1.01, -0.01
"""Coordinates that Ultralytics lets pass: a picture and one per cent around it."""

LabelTable = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What the rows of a dataset's labels should look like.

    Attributes:
        classes: Number of classes.
        keypoints: Keypoints an object has; 0 where the data YAML states none.
        dimensions: Numbers a keypoint has, 2 or 3.
        pose: Whether keypoints are trained; else they are dropped from the rows.
    """

    classes: int
    keypoints: int = 0
    dimensions: int = 0
    pose: bool = False

    @property
    def pose_columns(self) -> int:
        """Columns of a row with keypoints."""
        return 5 + self.keypoints * self.dimensions


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelVerdict:
    """What Ultralytics makes of a label file.

    Attributes:
        rows: Rows that are not blank.
        fault: Why the whole image is ignored, a key of `findings.KINDS`; None when it is kept.
        line: Where that is, from 1.
        text: The row at that line.
        duplicates: Lines that are removed because another row says the same.
        flat: Lines of boxes without an area, which are kept.
        outlined: Whether the rows are outlines, not boxes.
    """

    rows: int
    fault: str | None = None
    line: int = 0
    text: str = ""
    duplicates: tuple[int, ...] = ()
    flat: tuple[int, ...] = ()
    outlined: bool = False


class LabelError(Exception):
    """A row that costs its image.

    Args:
        kind: Key of `findings.KINDS`.
        row: Number of the row, from 0, blank lines not counted.
    """

    def __init__(self, kind: str, row: int) -> None:
        super().__init__(kind)
        self.kind, self.row = kind, row


def classify_labels(text: str, layout: Layout) -> LabelVerdict:
    """Judge the text of a label file.

    Args:
        text: The file, decoded.
        layout: What its rows should be.

    Returns:
        What Ultralytics would do with it.
    """
    listed = [
        (number, line.split()) for number, line in enumerate(text.splitlines(), 1) if line.strip()
    ]
    if not listed:
        return LabelVerdict(rows=0)
    lines = [number for number, _ in listed]
    rows = [words for _, words in listed]
    try:
        # what overflows is infinite, and judged as such
        with np.errstate(invalid="ignore", over="ignore"):
            table, outlines = _table(rows, layout)
            _check(table, layout)
    except LabelError as fault:
        shown = " ".join(rows[fault.row])
        return LabelVerdict(rows=len(rows), fault=fault.kind, line=lines[fault.row], text=shown)
    kept = _distinct(table, outlines)
    return LabelVerdict(
        rows=len(rows),
        duplicates=tuple(line for i, line in enumerate(lines) if i not in kept),
        flat=tuple(lines[i] for i in sorted(kept) if table[i, 3:5].min() <= 0),
        outlined=bool(outlines),
    )


def _table(rows: list[list[str]], layout: Layout) -> tuple[LabelTable, list[LabelTable]]:
    """Return the rows as (n, columns) and their outlines, each (points, 2); raise Fault where they are not alike."""
    if layout.keypoints and not layout.pose:  # labels for pose serve the other tasks too
        rows = [words[:5] if len(words) == layout.pose_columns else words for words in rows]
    if layout.pose or all(len(words) <= 6 for words in rows):
        return _boxes(rows, layout.pose_columns if layout.pose else 5), []
    for i, words in enumerate(rows):
        if len(words) == 5:
            raise LabelError("mixed", i)
        if len(words) < 3 or len(words) % 2 == 0:
            raise LabelError("columns", i)
    numbers = [_numbers(words, i) for i, words in enumerate(rows)]
    outlines = [row[1:].reshape(-1, 2) for row in numbers]
    corners = np.array([(*o.min(axis=0), *o.max(axis=0)) for o in outlines], dtype=np.float32)
    low, high = corners[:, :2], corners[:, 2:]
    classes = np.array([[row[0]] for row in numbers], dtype=np.float32)
    return np.concatenate(
        (classes, (low + high) / 2, high - low), axis=1, dtype=np.float32
    ), outlines


def _boxes(rows: list[list[str]], columns: int) -> LabelTable:
    for i, words in enumerate(rows):
        if len(words) != columns:
            raise LabelError("columns", i)
    try:
        return _floats(rows)
    except ValueError:
        return np.stack([_numbers(words, i) for i, words in enumerate(rows)])


def _numbers(words: list[str], row: int) -> LabelTable:
    try:
        return _floats(words)
    except ValueError:
        raise LabelError("number", row) from None


def _floats(words: list[str] | list[list[str]]) -> LabelTable:
    return np.array(words, dtype=np.float32)


def _check(table: LabelTable, layout: Layout) -> None:
    """Raise Fault for the first row that Ultralytics' assertions reject."""
    points = table[:, 1:]
    if layout.pose:  # there the boxes go unchecked
        points = (
            table[:, 5:].reshape(len(table), -1, layout.dimensions)[..., :2].reshape(len(table), -1)
        )
    above = ~(points <= HIGHEST).all(axis=1)
    lowest = table.min(axis=1)
    below = ~((lowest >= 0) | ((lowest >= LOWEST) & (table[:, 3:5].min(axis=1) >= 0)))
    broken = table[:, 0] % 1 != 0
    for kind, bad in (("above", above), ("negative", below), ("fraction", broken)):
        if bad.any():
            row = int(bad.argmax())
            raise LabelError(_not_finite(table[row]) or kind, row)
    unknown = table[:, 0] >= layout.classes
    if unknown.any():
        raise LabelError("class", int(unknown.argmax()))


def _not_finite(row: LabelTable) -> str | None:
    if np.isnan(row).any():
        return "nan"
    return "infinite" if np.isinf(row).any() else None


def _distinct(table: LabelTable, outlines: list[LabelTable]) -> set[int]:
    """Return the rows that stay when duplicates go; outlines with the same box are told apart."""
    first = np.unique(table, axis=0, return_index=True)[1]
    if len(first) < len(table) and outlines:
        keys = [c.tobytes() + o.tobytes() for c, o in zip(table[:, 0], outlines, strict=True)]
        first = np.unique(np.array(keys, dtype=object), return_index=True)[1]
    return {int(i) for i in first}
