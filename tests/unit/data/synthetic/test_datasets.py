"""The drawn sets: the same everywhere, honest keypoints, readable by Ultralytics."""

from __future__ import annotations

import hashlib
import json
import random

import cv2
import numpy as np
import pytest
import yaml

from yolo_stability.data import EMBEDDED, resolve_data
from yolo_stability.data.synthetic.datasets import (
    checksum,
    draw_embedded,
    embedded_folder,
    embedded_spec,
)


@pytest.fixture(params=EMBEDDED)
def name(request):
    return request.param


def test_the_drawings_are_the_released_ones(name):
    """Independent digest of pixels and JSON; other OpenCV versions give a notice."""
    folder, notice = embedded_folder(name)
    digest = hashlib.sha256()
    for split in ("train", "val"):
        for path in sorted((folder / split).iterdir()):
            image = cv2.imread(str(path))
            digest.update(f"{split}/{path.name} {image.shape}\n".encode())
            digest.update(image.tobytes())
    for path in sorted((folder / "annotations").iterdir()):
        text = json.dumps(json.loads(path.read_text()), sort_keys=True, separators=(",", ":"))
        digest.update(f"{path.name}\n{text}\n".encode())
    assert digest.hexdigest() == checksum(folder)
    assert (notice is None) == (checksum(folder) == embedded_spec(name).checksum)
    if cv2.__version__.startswith("5.0"):
        assert notice is None


def test_drawing_twice_gives_the_same_and_leaves_global_chance_alone(name):
    spec = embedded_spec(name)
    state, legacy = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = list(draw_embedded(spec, "val"))
    second = list(draw_embedded(spec, "val"))
    assert random.getstate() == state
    assert np.array_equal(np.random.get_state()[1], legacy)  # noqa: NPY002
    assert len(first) == spec.val
    for (n1, i1, a1), (n2, i2, a2) in zip(first, second, strict=True):
        assert (n1, a1) == (n2, a2)
        assert np.array_equal(i1, i2)
    assert len({i.tobytes() for _, i, _ in first}) == spec.val


def test_boxes_and_keypoints_lie_in_the_picture(name):
    spec = embedded_spec(name)
    for split in ("train", "val"):
        for _, image, found in draw_embedded(spec, split):
            assert image.shape == (spec.size, spec.size, 3)
            assert found
            for a in found:
                x, y, w, h = a["bbox"]
                assert min(x, y) >= 0
                assert max(x + w, y + h) <= spec.size + 0.01
                assert min(w, h) > 5
                points = np.array(a.get("keypoints", [])).reshape(-1, 3)
                assert set(points[:, 2]) <= {0, 1, 2}
                assert (points[points[:, 2] == 0] == 0).all()
                assert ((points[:, :2] >= 0) & (points[:, :2] < spec.size)).all()
                seen = points[points[:, 2] > 0]
                assert (
                    (seen[:, :2] >= [x - 1, y - 1]) & (seen[:, :2] <= [x + w + 1, y + h + 1])
                ).all()


def test_every_class_and_visibility_occurs(name):
    annotations = [a for _, _, found in draw_embedded(embedded_spec(name), "train") for a in found]
    if name == "shapes":
        counts = np.bincount([a["category_id"] for a in annotations], minlength=4)[1:]
        assert counts.min() > 0.2 * counts.sum()
    else:
        assert {v for a in annotations for v in a["keypoints"][2::3]} == {0, 1, 2}
        assert all(len(a["keypoints"]) == 51 for a in annotations)


@pytest.mark.parametrize(
    ("data", "task"),
    [("shapes", "detect"), ("shapes", "segment"), ("figures", "pose"), ("figures", "detect")],
)
def test_ultralytics_takes_every_picture(data, task):
    from ultralytics.cfg import get_cfg
    from ultralytics.data import build_yolo_dataset
    from ultralytics.data.utils import check_det_dataset

    resolved = resolve_data(data, task)
    assert "128 training and 32 validation images of 96 px" in resolved.notes[0]
    content = check_det_dataset(resolved.data)
    cfg = get_cfg(overrides={"imgsz": 96, "task": task, "cache": False})
    for split, count in (("train", 128), ("val", 32)):
        assert len(build_yolo_dataset(cfg, content[split], 8, content, mode=split)) == count
    if task == "pose":
        assert yaml.safe_load(open(resolved.data))["kpt_shape"] == [17, 3]  # noqa: PTH123, SIM115


def test_another_opencv_is_a_notice(name, tmp_path, monkeypatch):
    monkeypatch.setenv("YOLO_STABILITY_CACHE", str(tmp_path))
    real = cv2.line
    monkeypatch.setattr(cv2, "line", lambda *args: real(*args[:4], args[4] + 1))
    notes = resolve_data(name, embedded_spec(name).tasks[0]).notes
    assert "the drawings differ from the released ones" in notes[1]
