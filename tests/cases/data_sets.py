"""Data sets that Ultralytics accepts and cannot train or measure as meant, and odd ones that are sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from answers import between, damage, exit_code, field, one_of
from case_types import Case, Input
from in_process import Ran
from makers import BOXES, Box, draw_set, label_rows, yolo_row
from ultralytics.utils.patches import imread

TRAIN, VAL = 16, 4
LOST = one_of(BOXES * TRAIN, TRAIN)
"""All boxes of train, or all its images."""


def data_set(
    name: str,
    proof: Callable[[Path], None],
    *,
    change: Callable[[Path], None] | None = None,
    **drawn: Any,
) -> Input:
    """Return a set as `draw_set` draws it into `set/`, with a change to its files."""

    def make(folder: Path) -> None:
        draw_set(folder / "set", train=TRAIN, val=VAL, **drawn)
        if change is not None:
            change(folder / "set")

    def prove(folder: Path, made: Ran | None) -> None:
        assert len(list((folder / "set" / "images" / "train").iterdir())) == TRAIN
        proof(folder / "set")

    return Input(name=name, make=make, proof=prove)


# --- pictures of 16 bits ----------------------------------------------------------------------------------------------


def in_sixteen_bits(suffix: str, factor: int) -> Callable[[Path], None]:
    """Return a change of all pictures to gray ones of 16 bits with their values times a factor."""

    def change(root: Path) -> None:
        for file in _images(root):
            gray = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
            coded = cv2.imencode(suffix.lower(), gray.astype(np.uint16) * factor)[1]
            file.unlink()
            file.with_suffix(suffix).write_bytes(coded.tobytes())

    return change


def seen_as(low: int, high: int, highest: int) -> Callable[[Path], None]:
    """Return a proof that files hold values up to `highest`, and Ultralytics' brightest pixel is in a range."""

    def proof(root: Path) -> None:
        for file in _images(root):
            kept = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED)
            assert kept.dtype == np.uint16
            assert 0.4 * highest < kept.max() <= highest
            trained = imread(str(file))
            assert trained is not None
            assert low <= trained.max() <= high

    return proof


def _images(root: Path) -> Iterator[Path]:
    return iter(sorted((root / "images").rglob("plate*")))


# --- label rows -------------------------------------------------------------------------------------------------------

PHOTO = (1280, 960)


def divided_again(label: int, box: Box) -> str:
    """Return a label row whose normalized box is divided by the picture's size once more."""
    return yolo_row(label, (box[0] / 1280, box[1] / 960, box[2] / 1280, box[3] / 960))


def all_below_a_pixel(root: Path) -> None:
    """Assert that every box of every split is smaller than a pixel at 640 px."""
    for split, count in (("train", TRAIN), ("val", VAL)):
        boxes = list(label_rows(root, split))
        assert len(boxes) == BOXES * count
        assert all(0 < w < 1 / 640 and 0 < h < 1 / 640 for _, _, w, h in boxes)


def as_corners(label: int, box: Box) -> str:
    """Return a label row of x1 y1 x2 y2."""
    x, y, w, h = box
    return yolo_row(label, (x - w / 2, y - h / 2, x + w / 2, y + h / 2))


def corners_are_read_as_centers(root: Path) -> None:
    """Assert that the rows are valid, and boxes of half the images reach a tenth of the picture beyond it as read."""
    boxes = list(label_rows(root, "train"))
    assert all(0 <= value <= 1 for box in boxes for value in box)
    assert all(x < w and y < h for x, y, w, h in boxes)
    beyond = [
        min(x - w / 2, y - h / 2) < -0.1 or max(x + w / 2, y + h / 2) > 1.1 for x, y, w, h in boxes
    ]
    images = [any(beyond[i : i + BOXES]) for i in range(0, len(beyond), BOXES)]
    assert sum(images) >= TRAIN / 2


# --- label files ------------------------------------------------------------------------------------------------------


def val_labels_moved(root: Path) -> None:
    """Move the labels of val to a folder that nothing reads."""
    (root / "labels" / "val").rename(root / "labels" / "validation")


def val_has_no_labels(root: Path) -> None:
    """Assert that all labels of val are there, in a folder of another name."""
    assert not (root / "labels" / "val").exists()
    assert len(list((root / "labels" / "validation").glob("plate*.txt"))) == VAL


def emptied(*splits: str, text: str = "") -> Callable[[Path], None]:
    """Return a change of all label files of some splits to one text."""

    def change(root: Path) -> None:
        for split in splits:
            for file in (root / "labels" / split).iterdir():
                file.write_text(text)

    return change


def train_has_no_row(root: Path) -> None:
    """Assert that there are label files for all images of train, without a row."""
    assert len(list((root / "labels" / "train").iterdir())) == TRAIN
    assert list(label_rows(root, "train")) == []


def some_without_labels(root: Path) -> None:
    """Remove the label files of every fourth picture of train."""
    for file in sorted((root / "labels" / "train").iterdir())[::4]:
        file.unlink()


def a_quarter_is_background(root: Path) -> None:
    """Assert that a quarter of the images of train has no label file."""
    assert len(list((root / "labels" / "train").iterdir())) == TRAIN * 3 // 4


def to_the_border(label: int, box: Box) -> str:
    """Return a label row of a box that is widened to the full width of the picture."""
    return yolo_row(label, (0.5, box[1], 1.0, box[3]))


def all_touch_the_border(root: Path) -> None:
    """Assert that every box is as wide as the picture."""
    assert {(x, w) for x, _, w, _ in label_rows(root, "train")} == {(0.5, 1.0)}


# --- the cases --------------------------------------------------------------------------------------------------------

NAMED = r"plate\d+\.(txt|png)|labels/train"
SOUND = (field("damaged", False), exit_code(0))


case = partial(Case, ask=("data", "check", "set/data.yaml"), waits_for=None)

CASES = (
    case(
        given=data_set("twelve-bits", seen_as(1, 15, 4095), change=in_sixteen_bits(".png", 16)),
        saw="12-bit pictures in 16-bit PNGs: black previews, poor results",
        after="ultralytics #21645, #13945",
        right=damage("train", one_of(TRAIN), r"plate\d+\.png", "plate...png"),
    ),
    case(
        given=data_set("ten-bits-tiff", seen_as(1, 3, 1023), change=in_sixteen_bits(".TIF", 4)),
        saw="10-bit pictures in 16-bit TIFFs with an upper-case extension",
        after="ultralytics #21645, #13945",
        right=damage("train", one_of(TRAIN), r"plate\d+\.TIF", "plate...TIF"),
    ),
    case(
        given=data_set(
            "sixteen-bits-full", seen_as(120, 255, 65535), change=in_sixteen_bits(".png", 257)
        ),
        saw="16-bit PNGs that use the full range: odd, but sound",
        after="ultralytics #21645, #13945",
        right=SOUND,
    ),
    case(
        given=data_set("specks", all_below_a_pixel, row=divided_again, size=PHOTO, suffix=".jpg"),
        saw="labels divided by the picture's size twice",
        after="ultralytics #22228",
        right=damage("train", LOST, r"plate\d+\.(txt|jpg)", "plate...txt or .jpg"),
    ),
    case(
        given=data_set("corners", corners_are_read_as_centers, row=as_corners),
        saw="label rows are x1 y1 x2 y2",
        after="ultralytics #16097",
        right=damage(
            "train",
            between(TRAIN // 2, BOXES * (TRAIN + VAL)),
            *(r"plate\d+\.(txt|png)", "plate...txt or .png"),
        ),
    ),
    case(
        given=data_set("labels-elsewhere", val_has_no_labels, change=val_labels_moved),
        saw="the labels of val are in labels/validation",
        after="ultralytics #20595",
        right=damage(
            "val", one_of(1, VAL), r"val/|validation", "files of val or labels/validation"
        ),
    ),
    case(
        given=data_set("labels-empty", train_has_no_row, change=emptied("train", "val")),
        saw="all label files are empty",
        after="ultralytics #5055",
        right=damage("train", one_of(1, TRAIN, TRAIN + VAL), NAMED, "label files"),
    ),
    case(
        given=data_set(
            "labels-blank-in-train", train_has_no_row, change=emptied("train", text="\n \n")
        ),
        saw="the label files of train hold blank lines only",
        after="ultralytics #5055",
        right=damage("train", one_of(1, TRAIN), NAMED, "label files"),
    ),
    case(
        given=data_set("backgrounds", a_quarter_is_background, change=some_without_labels),
        saw="a quarter of the images is background: sound",
        after="ultralytics #5055",
        right=SOUND,
    ),
    case(
        given=data_set("boxes-to-the-border", all_touch_the_border, row=to_the_border),
        saw="all boxes reach from border to border: odd, but sound",
        after="ultralytics #16097",
        right=SOUND,
    ),
)
