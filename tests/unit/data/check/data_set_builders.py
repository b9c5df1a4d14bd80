"""Twenty-four small data sets made by script: 14 that cannot train or measure as meant, 10 odd but harmless."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

TRAIN, VAL, BOXES = 12, 5, 3
SIDE = 64
Row = Sequence[float]


def picture(seed: int, size: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    """Return a smooth random picture of (width, height), unlike any other seed's."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)


def boxes_of(seed: int) -> list[tuple[float, float, float, float]]:
    """Return boxes inside the picture, anywhere in it: center x, center y, width, height."""
    rng = np.random.default_rng(1000 + seed)
    sizes = rng.uniform(0.1, 0.4, (BOXES, 2))
    centers = rng.uniform(sizes / 2, 1 - sizes / 2)
    return [(*center, *size) for center, size in zip(centers, sizes, strict=True)]


class Builder:
    """A YOLO set under construction: every image has `BOXES` boxes of two classes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config: dict[str, Any] = {
            "path": str(root),
            "train": "images/train",
            "val": "images/val",
            "names": ["cat", "dog"],
        }

    def build(
        self,
        row: Callable[[int, Row], Row] = lambda label, box: (label, *box),
        draw: Callable[[int], np.ndarray] = picture,
        suffix: str = ".png",
    ) -> Builder:
        """Write images and labels; `row` returns the numbers of a label row."""
        for split, count in (("train", TRAIN), ("val", VAL)):
            for i in range(count):
                seed = i if split == "train" else 500 + i
                rows = [row(j % 2, box) for j, box in enumerate(boxes_of(seed))]
                self.add(split, f"{split}{i:02}", draw(seed), rows, suffix)
        return self

    def add(
        self, split: str, name: str, pixels: np.ndarray, rows: Sequence[Row], suffix: str = ".png"
    ) -> Path:
        """Add an image with its label rows."""
        image = self.root / "images" / split / f"{name}{suffix}"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(cv2.imencode(suffix, pixels)[1].tobytes())
        label = self.root / "labels" / split / f"{name}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text("".join(" ".join(f"{v:.8g}" for v in row) + "\n" for row in rows))
        return image

    def write(self, **config: Any) -> Path:
        """Write the data YAML; return its path."""
        path = self.root / "data.yaml"
        path.write_text(yaml.safe_dump(self.config | config))
        return path


# --- cannot train or measure ----------------------------------------------------------------------


def gray16(seed: int, low: int, high: int, width: int = SIDE) -> np.ndarray:
    """Return a gray picture of 16 bits with values from low to high."""
    gray = cv2.normalize(
        cv2.cvtColor(picture(seed, (width, SIDE)), cv2.COLOR_BGR2GRAY),
        None,
        0,
        1,
        cv2.NORM_MINMAX,
        cv2.CV_64F,
    )
    return np.asarray(low + gray * (high - low), np.uint16)


def ten_bits(root: Path) -> Path:
    return Builder(root).build(draw=lambda seed: gray16(seed, 0, 1023)).write()


def thermal(root: Path) -> Path:
    return Builder(root).build(draw=lambda seed: gray16(seed, 7000, 9000), suffix=".tif").write()


def divided_twice(root: Path) -> Path:
    return Builder(root).build(row=lambda label, box: (label, *(v / SIDE for v in box))).write()


def corners(root: Path) -> Path:
    return (
        Builder(root)
        .build(
            row=lambda label, b: (
                label,
                b[0] - b[2] / 2,
                b[1] - b[3] / 2,
                b[0] + b[2] / 2,
                b[1] + b[3] / 2,
            )
        )
        .write()
    )


def upper_left(root: Path) -> Path:
    return (
        Builder(root)
        .build(row=lambda label, b: (label, b[0] - b[2] / 2, b[1] - b[3] / 2, b[2], b[3]))
        .write()
    )


POINTS = 4


def points_of(box: Row, hidden: Row = ()) -> list[tuple[float, float]]:
    """Return keypoints on the left, right, upper and lower side of a box."""
    x, y, w, h = box
    found = [(x - w / 3, y), (x + w / 3, y), (x, y - h / 3), (x, y + h / 3)]
    return [(0, 0) if i in hidden else point for i, point in enumerate(found)]


def pose(root: Path, row: Callable[[int, Row], Row], **config: Any) -> Path:
    defaults = {"names": ["person"], "kpt_shape": [POINTS, 3], "flip_idx": [1, 0, 2, 3]}
    return Builder(root).build(row=row).write(**defaults | config)


def with_points(_: int, box: Row) -> Row:
    return (0, *box, *(v for point in points_of(box) for v in (*point, 2)))


def hidden_at_zero(root: Path) -> Path:
    return pose(
        root,
        lambda _, box: (0, *box, *(v for p in points_of(box, hidden=(3,)) for v in p)),
        kpt_shape=[POINTS, 2],
    )


def flip_not_mutual(root: Path) -> Path:
    return pose(root, with_points, flip_idx=[1, 2, 0, 3])


def shape_of_another_set(root: Path) -> Path:
    return pose(root, with_points, kpt_shape=[17, 3], flip_idx=list(range(17)))


def val_labels_elsewhere(root: Path) -> Path:
    path = Builder(root).build().write()
    (root / "labels" / "val").rename(root / "labels" / "validation")
    return path


def emptied(root: Path) -> Path:
    path = Builder(root).build().write()
    for file in (root / "labels" / "train").iterdir():
        file.write_text("\n")
    return path


def labels_of_other_names(root: Path) -> Path:
    path = Builder(root).build().write()
    for file in sorted((root / "labels" / "train").iterdir())[::2]:
        file.rename(file.with_name(f"{file.stem}_mask.txt"))
    return path


def two_suffixes(root: Path) -> Path:
    path = Builder(root).build().write()
    for i in range(4):
        coded = cv2.imencode(".jpg", picture(900 + i))[1]
        (root / "images" / "train" / f"train{i:02}.jpg").write_bytes(coded.tobytes())
    return path


def same_pictures(root: Path) -> Path:
    path = Builder(root).build().write()
    for i in range(2):
        source = root / "images" / "train" / f"train{i:02}.png"
        (root / "images" / "val" / f"val{i:02}.png").write_bytes(source.read_bytes())
    return path


def classes(root: Path, counts: Mapping[str, Mapping[str, int]]) -> Path:
    """Write a classification set: images by split and class folder."""
    seed = 0
    for split, folders in counts.items():
        for name, count in folders.items():
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                seed += 1
                (folder / f"{i}.png").write_bytes(cv2.imencode(".png", picture(seed))[1].tobytes())
    return root


def one_class_folder(root: Path) -> Path:
    return classes(root, {"train": {"good": 6}, "val": {"good": 3}})


# --- odd, but harmless ----------------------------------------------------------------------------


def sixteen_bits_in_full(root: Path) -> Path:
    return Builder(root).build(draw=lambda seed: gray16(seed, 0, 65535)).write()


def aerial(root: Path) -> Path:
    """Objects of 8 px in images of 2000 px: 2.6 px at imgsz=640."""
    return (
        Builder(root)
        .build(
            row=lambda label, b: (label, b[0], b[1], 8 / 2000, 8 / 1500),
            draw=lambda seed: picture(seed, (2000, 1500)),
            suffix=".jpg",
        )
        .write()
    )


def one_class(root: Path) -> Path:
    return Builder(root).build(row=lambda _, box: (0, *box)).write(names=["thing"])


def half_background(root: Path) -> Path:
    path = Builder(root).build().write()
    for i, file in enumerate(sorted((root / "labels" / "train").iterdir())):
        if i % 4 == 0:
            file.unlink()
        elif i % 4 == 1:
            file.write_text("")
    return path


def one_folder(root: Path) -> Path:
    return Builder(root).build().write(val="images/train")


def oriented(root: Path) -> Path:
    """Turned boxes whose corners reach a little beyond the picture."""

    def row(label: int, box: Row) -> Row:
        x, y, w, h = box
        turned = ((x, y - h / 2), (x + w / 2, y), (x, y + h / 2), (x - w / 2, y))
        return (label, *(min(max(v * 1.02 - 0.01, -0.009), 1.009) for p in turned for v in p))

    return Builder(root).build(row=row).write()


def outlines(root: Path) -> Path:
    """Outlines of five points, some along the border."""

    def row(label: int, box: Row) -> Row:
        x, y, w, h = box
        shape = ((-0.004, y), (x, y - h / 2), (1.004, y), (x + w / 4, y + h / 2), (x, y + h / 2))
        return (label, *(v for p in shape for v in p))

    return Builder(root).build(row=row).write()


def listed_twice(root: Path) -> Path:
    """A text list that names three images of train twice, so that they weigh more."""
    builder = Builder(root).build()
    images = [f"./images/train/train{i:02}.png" for i in (*range(TRAIN), 0, 1, 2)]
    (root / "train.txt").write_text("\n".join(images))
    return builder.write(train="train.txt")


def hidden_as_hidden(root: Path) -> Path:
    def row(_: int, box: Row) -> Row:
        points = points_of(box, hidden=(3,))
        return (0, *box, *(v for i, p in enumerate(points) for v in (*p, 0 if i == 3 else 2)))

    return pose(root, row)


def uneven_classes(root: Path) -> Path:
    return classes(root, {"train": {"a": 12, "b": 2, "c": 1}, "val": {"a": 3, "b": 1, "c": 1}})


# --- the table ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DataSet:
    """A set, and the right answer.

    Attributes:
        build: Writes it below an empty folder; returns what to check.
        kind: Kind of its one finding that is damage or a warning; empty where silence is right.
        split: Split of this finding.
        count: Its count.
        of: Number of examined items.
        names: Text that an example or the message contains.
        severity: Its severity.
        task: Task to check it for; None for its own.
    """

    build: Callable[[Path], Path]
    kind: str = ""
    split: str = "train"
    count: int = 0
    of: int = 0
    names: str = ""
    severity: str = "damage"
    task: str | None = None


ALL = TRAIN * BOXES
DAMAGED = (
    DataSet(ten_bits, "dark", count=TRAIN, of=TRAIN, names="images/train/train00.png"),
    DataSet(thermal, "dark", count=TRAIN, of=TRAIN, names="images/train/train00.tif"),
    DataSet(divided_twice, "specks", count=ALL, of=ALL, names="divided by the image size twice"),
    DataSet(corners, "corners", count=-1, of=ALL, names="labels/train/train"),
    DataSet(upper_left, "beyond", count=-1, of=ALL, names="upper left corner"),
    DataSet(
        hidden_at_zero, "kpt_zero", count=ALL, of=POINTS * ALL, names="labels/train/train00.txt:1"
    ),
    DataSet(flip_not_mutual, "flip_idx", "all", 3, POINTS, "flip_idx[0] = 1"),
    DataSet(shape_of_another_set, "kpt_shape", count=TRAIN, of=TRAIN, names="[4, 3] or [6, 2]"),
    DataSet(val_labels_elsewhere, "unlabelled", "val", VAL, VAL, "labels/validation"),
    DataSet(emptied, "labels_empty", count=TRAIN, of=TRAIN, names="labels/train/train00.txt"),
    DataSet(
        labels_of_other_names, "unread", "all", 6, TRAIN + VAL, "labels/train/train00_mask.txt"
    ),
    DataSet(two_suffixes, "labels_shared", count=4, of=TRAIN, names="train00.jpg, train00.png"),
    DataSet(
        same_pictures, "leak", "val", 2, VAL, "images/val/val00.png = images/train/train00.png"
    ),
    DataSet(one_class_folder, "folder_single", count=1, of=1, names="train/good"),
)
"""Sets that cannot train or measure as meant; a count of -1 is at least half."""

HARMLESS = (
    DataSet(sixteen_bits_in_full),
    DataSet(aerial),
    DataSet(one_class),
    DataSet(half_background),
    DataSet(one_folder, "leak", "all", TRAIN, TRAIN, "images/train", severity="warning"),
    DataSet(oriented, task="obb"),
    DataSet(outlines, task="segment"),
    DataSet(listed_twice),
    DataSet(hidden_as_hidden),
    DataSet(uneven_classes),
)
"""Sets that are odd, but sound: no damage, and a warning only where train and val are one folder."""
