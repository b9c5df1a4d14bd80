"""Tiny COCO folders, and a listing of the files on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

WIDTH, HEIGHT = 40, 20
PERSON = {"id": 1, "name": "person", "keypoints": ["nose", "left_hand", "right_hand"]}


class CocoFolder:
    """A COCO folder under construction; `train` and `val` start as the same healthy content."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kind = "instances"
        self.categories: list[Any] = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
        self.images: list[Any] = [
            {"id": 7, "file_name": "a.png", "width": WIDTH, "height": HEIGHT},
            {"id": 9, "file_name": "b.png", "width": WIDTH, "height": HEIGHT},
        ]
        self.annotations: list[Any] = [self.box(7, 1, [4, 2, 20, 10])]

    @staticmethod
    def box(image: Any, category: Any, bbox: Any, **more: Any) -> dict[str, Any]:
        return {
            "id": 1,
            "image_id": image,
            "category_id": category,
            "bbox": bbox,
            "iscrowd": 0,
            **more,
        }

    def picture(self, name: str, folder: str = "train2017") -> Path:
        path = self.root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        path.write_bytes(cv2.imencode(path.suffix or ".png", image)[1].tobytes())
        return path

    def write(self) -> Path:
        """Write the train set as it was set up, and a healthy val set of one image."""
        (self.root / "annotations").mkdir(parents=True, exist_ok=True)
        for folder in ("train2017", "val2017"):
            for name in ("a.png", "b.png"):
                self.picture(name, folder)
        train = {
            "images": self.images,
            "annotations": self.annotations,
            "categories": self.categories,
        }
        first = self.categories[0]
        points = {"keypoints": [5, 5, 2] * len(first.get("keypoints", [])) or [5, 5, 2] * 17}
        good = self.box(1, first["id"], [4, 2, 20, 10], **points)
        image = {"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}
        val = {"images": [image], "annotations": [good], "categories": self.categories}
        for split, content in (("train2017", train), ("val2017", val)):
            path = self.root / "annotations" / f"{self.kind}_{split}.json"
            path.write_text(json.dumps(content), encoding="utf-8")
        return self.root


@pytest.fixture(autouse=True)
def own_cache(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Give each test an empty cache; tests of the drawn sets share the session's."""
    if "embedded" not in request.node.nodeid.rsplit("/", 1)[-1].split("::")[0]:
        monkeypatch.setenv("YOLO_STABILITY_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def coco_folder() -> type[CocoFolder]:
    """Give the class itself, for property tests that need a new folder an example."""
    return CocoFolder


@pytest.fixture
def coco(tmp_path: Path) -> CocoFolder:
    """Give a COCO folder for detection that a test may spoil before writing it."""
    return CocoFolder(tmp_path / "mini")


@pytest.fixture
def people(coco: CocoFolder) -> CocoFolder:
    """Give a COCO folder for pose with three keypoints a person."""
    coco.kind = "person_keypoints"
    coco.categories = [dict(PERSON)]
    coco.annotations = [coco.box(7, 1, [4, 2, 20, 10], keypoints=[5, 5, 2, 8, 6, 1, 0, 0, 0])]
    return coco


Labels = Mapping[str, list[list[float]]]


@pytest.fixture
def labels() -> Callable[[Path], Labels]:
    """Read an imported train set as Ultralytics would: image name -> rows of its label file."""

    def read(data: Path) -> Labels:
        listed = yaml.safe_load(data.read_text())["train"]
        result: dict[str, list[list[float]]] = {}
        for line in (data.parent / listed).read_text().splitlines():
            image = data.parent / line
            assert image.exists(), image
            label = Path(str(image).replace("/images/", "/labels/")).with_suffix(".txt")
            rows = label.read_text().splitlines() if label.exists() else []
            result[image.name] = [[float(v) for v in row.split()] for row in rows]
        return result

    return read


@pytest.fixture
def snapshot() -> Callable[[Path], dict[str, tuple[int, int]]]:
    """Return path -> (size, mtime in ns) of everything below a folder, to detect changes."""

    def take(folder: Path) -> dict[str, tuple[int, int]]:
        return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.rglob("*"))}

    return take
