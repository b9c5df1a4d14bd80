"""What the inputs of cases are made of: tables of results, data sets, models with layers of one's own, scripts."""

from __future__ import annotations

import csv
import importlib.util
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

Row = dict[str, Any]
Box = tuple[float, float, float, float]
BOXES = 3
"""Objects in each drawn picture."""
RUN = Path("runs") / "run"
"""Folder of the run that a script or command makes."""


# --- tables of results ------------------------------------------------------------------------------------------------


def learning_rows(
    epochs: int, parts: Sequence[str] = ("box", "cls", "dfl"), kinds: str = "B"
) -> list[Row]:
    """Return the rows of a run that learns well.

    Args:
        epochs: Number of rows.
        parts: Names of the loss parts.
        kinds: Letters of the metrics: B boxes, M masks, P keypoints.
    """
    rows = []
    for epoch in range(epochs):
        fade, gain = 0.9**epoch, 1 - 0.85 ** (epoch + 1)
        row: Row = {"epoch": epoch + 1, "time": round(24.3 * (epoch + 1), 1)}
        row |= {
            f"train/{p}_loss": round(0.7 + 0.3 * i + (1.3 + i) * fade, 5)
            for i, p in enumerate(parts)
        }
        for kind in kinds:
            row |= {
                f"metrics/{m}({kind})": round(0.86 * gain, 5)
                for m in ("precision", "recall", "mAP50")
            }
            row[f"metrics/mAP50-95({kind})"] = round(0.57 * gain, 5)
        row |= {
            f"val/{p}_loss": round(0.8 + 0.3 * i + (1.1 + i) * fade, 5) for i, p in enumerate(parts)
        }
        row |= {f"lr/pg{g}": round(0.01 * (1 - epoch / (epochs + 1)), 6) for g in range(3)}
        rows.append(row)
    return rows


@dataclass(frozen=True)
class Change:
    """A value in some columns of a table, in some epochs.

    Attributes:
        columns: Pattern of their names, such as `val/*`.
        value: Value, or a function of the old one.
        first: First epoch, counted from 1.
        last: Last one; the last of the run where None.
    """

    columns: str
    value: Any
    first: int = 1
    last: int | None = None

    def made_in(self, rows: Sequence[Row]) -> list[Row]:
        """Return rows with the change."""
        return [self._changed(row) if self.covers(row, len(rows)) else row for row in rows]

    def covers(self, row: Row, epochs: int) -> bool:
        """Return whether a row is among the epochs."""
        return self.first <= int(row["epoch"]) <= (self.last or epochs)

    def _changed(self, row: Row) -> Row:
        new = self.value if callable(self.value) else lambda old: self.value
        return row | {name: new(row[name]) for name in row if fnmatchcase(name, self.columns)}


def write_results(folder: Path, rows: Sequence[Row], **args: Any) -> None:
    """Write `results.csv` and `args.yaml` as a plain run leaves them."""
    with (folder / "results.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    given = {
        "task": "detect",
        "mode": "train",
        "model": "yolo11s.pt",
        "data": "parts.yaml",
        "epochs": len(rows),
    }
    given |= {"batch": 12, "imgsz": 512, "optimizer": "auto", "close_mosaic": 10, **args}
    (folder / "args.yaml").write_text(yaml.safe_dump(given))


def read_column(run: Path, name: str) -> list[float]:
    """Return a column of a run's `results.csv`."""
    with (run / "results.csv").open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file)]


# --- data sets --------------------------------------------------------------------------------------------------------


def yolo_row(label: int, box: Box) -> str:
    """Return a label row: class, center and size."""
    return f"{label} " + " ".join(f"{value:.8f}" for value in box)


def draw(seed: int, size: tuple[int, int]) -> tuple[NDArray[np.uint8], list[tuple[int, Box]]]:
    """Return a picture of bright and dark plates on a mottled ground, with class and box of each plate."""
    rng = np.random.default_rng(seed)
    width, height = size
    ground = rng.integers(60, 200, (6, 8, 3), dtype=np.uint8)
    image = cv2.resize(ground, size, interpolation=cv2.INTER_CUBIC)
    objects = []
    for _ in range(BOXES):
        label = int(rng.integers(2))
        w, h = rng.uniform(0.18, 0.4, 2)
        x, y = rng.uniform(w / 2, 1 - w / 2), rng.uniform(h / 2, 1 - h / 2)
        corners = [
            (round((x + s * w / 2) * width), round((y + s * h / 2) * height)) for s in (-1, 1)
        ]
        cv2.rectangle(image, *corners, (250, 240, 245) if label else (8, 12, 5), -1)
        objects.append((label, (float(x), float(y), float(w), float(h))))
    return image, objects


def draw_set(
    folder: Path,
    *,
    train: int = 16,
    val: int = 4,
    size: tuple[int, int] = (96, 80),
    suffix: str = ".png",
    row: Callable[[int, Box], str] = yolo_row,
) -> Path:
    """Draw a detection set in YOLO's layout and return its data YAML.

    Args:
        folder: Where it goes.
        train: Pictures of train.
        val: Pictures of val.
        size: Width and height of a picture.
        suffix: File name extension of the pictures.
        row: Turns class and box into a label row.
    """
    for split, count in (("train", train), ("val", val)):
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for index in range(count):
            image, objects = draw(1000 * (split == "val") + index, size)
            cv2.imwrite(str(images / f"plate{index:03d}{suffix}"), image)
            rows = [row(label, box) for label, box in objects]
            (labels / f"plate{index:03d}.txt").write_text("\n".join(rows) + "\n")
    data = {
        "path": str(folder),
        "train": "images/train",
        "val": "images/val",
        "names": ["dark", "bright"],
    }
    (folder / "data.yaml").write_text(yaml.safe_dump(data))
    return folder / "data.yaml"


def label_rows(folder: Path, split: str) -> Iterator[Box]:
    """Yield the boxes of a split as they are written."""
    for path in sorted((folder / "labels" / split).glob("*.txt")):
        for line in filter(str.strip, path.read_text().splitlines()):
            x, y, w, h = map(float, line.split()[1:])
            yield x, y, w, h


# --- models and scripts -----------------------------------------------------------------------------------------------

WIDTH = [0.33, 0.125, 512]
"""Depth, width and highest number of channels: YOLOv8 in all its layers, with half the channels of the nano model."""

SETTINGS: Mapping[str, Any] = {
    **{"imgsz": 64, "batch": 4, "nbs": 4, "device": "cpu", "workers": 0, "optimizer": "SGD"},
    **{"lr0": 0.01, "mosaic": 0, "close_mosaic": 0, "amp": False, "plots": False, "seed": 0},
    **{"exist_ok": True, "name": "run"},
}
"""Settings of all small trainings: 4 steps an epoch on 16 pictures."""

_HEAD = f'''"""Run me with python, in any folder."""

from pathlib import Path

HERE = Path(__file__).resolve().parent
SETTINGS = {dict(SETTINGS)!r} | dict(
    data=str(HERE / "set" / "data.yaml"), project=str(HERE / "runs")
)
'''


def write_model(
    folder: Path, *blocks: str, after: int = 9, channels: int = 64, name: str = "small.yaml"
) -> Path:
    """Write a narrow YOLOv8 with blocks of one's own in its backbone, and return its path.

    Args:
        folder: Where it goes.
        blocks: Class names; each is called with the number of channels.
        after: Layer of the backbone that the blocks follow.
        channels: Channels of that layer.
        name: File name.
    """
    package = importlib.util.find_spec("ultralytics")
    home = Path(next(iter(package.submodule_search_locations or ()))) if package else folder
    net = yaml.safe_load((home / "cfg" / "models" / "v8" / "yolov8.yaml").read_text())
    net |= {"scales": {"n": WIDTH}, "nc": 2}
    added = [[-1, 1, block, [channels]] for block in blocks]

    def moved(source: Any) -> Any:
        if isinstance(source, list):
            return [moved(one) for one in source]
        return source + len(blocks) if source >= after else source

    net["backbone"][after + 1 : after + 1] = added
    net["head"] = [[moved(source), *rest] for source, *rest in net["head"]]
    (folder / name).write_text(yaml.safe_dump(net))
    return folder / name


def write_blocks(folder: Path, classes: str) -> None:
    """Write `blocks.py`, whose classes a model's YAML may name."""
    head = '"""Blocks of my own."""\n\nimport torch\nfrom torch import nn\nfrom ultralytics.nn import tasks\n\n\n'
    tail = (
        "\n\nfor block in [c for c in list(globals().values()) if isinstance(c, type)]:\n"
        "    setattr(tasks, block.__name__, block)\n"
    )
    (folder / "blocks.py").write_text(head + textwrap.dedent(classes).strip() + "\n" + tail)


def script_text(body: str) -> str:
    """Return the text of a script that starts with the settings of all small trainings."""
    return _HEAD + textwrap.dedent(body).strip() + "\n"
