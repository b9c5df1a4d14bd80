"""The importer as a whole: what lands in the cache, against the JSON it came from."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from yolo_stability.core.errors import DataError
from yolo_stability.data import import_coco


def test_boxes_are_centred_and_scaled(coco, labels):
    report = import_coco(coco.write(), "detect")
    assert labels(report.data) == {"a.png": [[0, 14 / 40, 7 / 20, 0.5, 0.5]], "b.png": []}
    assert yaml.safe_load(report.data.read_text())["names"] == {0: "cat", 1: "dog"}


@pytest.mark.parametrize("ids", [(0, 1, 2), (1, 2, 3), (3, 17, 90), (90, 3, 17)])
def test_class_names_follow_the_json_whatever_the_ids(coco, labels, ids):
    names = dict(zip(ids, ("ant", "bee", "cow"), strict=True))
    coco.categories = [{"id": i, "name": n} for i, n in names.items()]
    coco.annotations = [coco.box(7, i, [1 + k, 1, 10, 10]) for k, i in enumerate(ids)]
    report = import_coco(coco.write(), "detect")
    content = yaml.safe_load(report.data.read_text())["names"]
    found = [
        content[int(row[0])] for row in sorted(labels(report.data)["a.png"], key=lambda r: r[1])
    ]
    assert found == ["ant", "bee", "cow"]


def test_categories_of_val_alone_get_their_own_class(coco, labels):
    root = coco.write()
    path = root / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    content["categories"].append({"id": 0, "name": "bird"})
    path.write_text(json.dumps(content))
    report = import_coco(root, "detect")
    assert yaml.safe_load(report.data.read_text())["names"] == {0: "bird", 1: "cat", 2: "dog"}
    assert labels(report.data)["a.png"][0][0] == 1


def test_pose_keeps_only_images_with_labelled_people(people, labels):
    people.annotations.append(people.box(9, 1, [1, 1, 5, 5], keypoints=[0] * 9))
    report = import_coco(people.write(), "pose")
    assert labels(report.data) == {
        "a.png": [pytest.approx([0, 0.35, 0.35, 0.5, 0.5, 0.125, 0.25, 2, 0.2, 0.3, 1, 0, 0, 0])]
    }
    content = yaml.safe_load(report.data.read_text())
    assert content["kpt_shape"] == [3, 3]
    assert content["flip_idx"] == [0, 2, 1]
    assert content["kpt_names"] == {0: ["nose", "left_hand", "right_hand"]}
    train = report.splits[0]
    assert train.dropped == {"without labelled keypoints": 1}
    assert train.images_dropped == {"without labelled people": 1}


def test_segments_become_polygons(coco, labels):
    coco.annotations = [coco.box(7, 2, [0, 0, 20, 10], segmentation=[[0, 0, 20, 0, 20, 10]])]
    report = import_coco(coco.write(), "segment")
    assert labels(report.data)["a.png"] == [[1, 0, 0, 0.5, 0, 0.5, 0.5]]


@pytest.mark.parametrize("place", ["train2017", "images/train2017", "images", "."])
def test_images_are_found_wherever_coco_users_put_them(coco, labels, place):
    root = coco.write()
    for split in ("train2017", "val2017"):
        for path in list((root / split).iterdir()):
            wanted = root / place.replace("train2017", split) / path.name
            wanted.parent.mkdir(parents=True, exist_ok=True)
            path.rename(wanted)
        if not any((root / split).iterdir()):
            (root / split).rmdir()
    assert set(labels(import_coco(root, "detect").data)) == {"a.png", "b.png"}


def test_names_with_folders_and_twin_stems_keep_their_own_labels(coco, labels):
    coco.images = [
        {"id": 1, "file_name": "images/x.png", "width": 40, "height": 20},
        {"id": 2, "file_name": "x.png", "width": 40, "height": 20},
        {"id": 3, "file_name": "x.jpg", "width": 40, "height": 20},
        {"id": 4, "file_name": "a line\u2028break.png", "width": 40, "height": 20},
    ]
    coco.annotations = [coco.box(i, 1, [i, 0, 20, 10]) for i in (1, 2, 3, 4)]
    for image in coco.images:
        coco.picture(image["file_name"])
    found = labels(import_coco(coco.write(), "detect").data)
    assert [round(rows[0][1] * 40 - 10) for rows in found.values()] == [1, 2, 3, 4]


def test_the_users_folder_stays_as_it_is(coco, snapshot):
    """Includes a JPEG without end marker, which Ultralytics repairs in place during a scan."""
    jpeg = coco.picture("cut.jpg")
    jpeg.write_bytes(jpeg.read_bytes() + b"trailing bytes")
    coco.images.append({"id": 3, "file_name": "cut.jpg", "width": 40, "height": 20})
    root = coco.write()
    before = snapshot(root)
    report = import_coco(root, "detect")
    assert _scan(report.data) == 3
    assert snapshot(root) == before
    assert (report.data.parent / "images/train/a.png").is_symlink()
    assert not (report.data.parent / "images/train/cut.jpg").is_symlink()


def _scan(data: Path) -> int:
    """Return how many training images Ultralytics accepts."""
    from ultralytics.cfg import get_cfg
    from ultralytics.data import build_yolo_dataset
    from ultralytics.data.utils import check_det_dataset

    content = check_det_dataset(str(data))
    cfg = get_cfg(
        overrides={
            "imgsz": 32,
            "task": "pose" if "kpt_shape" in content else "detect",
            "cache": False,
        }
    )
    return len(build_yolo_dataset(cfg, content["train"], 2, content, mode="train"))


def test_an_import_is_made_once_and_again_when_the_input_changes(coco):
    root = coco.write()
    first = import_coco(root, "detect")
    stamp = first.data.stat().st_mtime_ns
    again = import_coco(root, "detect")
    assert again == first
    assert again.data.stat().st_mtime_ns == stamp
    coco.annotations[0]["bbox"] = [1, 1, 5, 5]
    assert import_coco(coco.write(), "detect").data != first.data


def test_a_missing_image_that_comes_back_is_imported(coco):
    coco.images.append({"id": 3, "file_name": "late.png", "width": 40, "height": 20})
    root = coco.write()
    assert import_coco(root, "detect").splits[0].images_kept == 2
    coco.picture("late.png")
    assert import_coco(root, "detect").splits[0].images_kept == 3


def test_a_damaged_cache_is_built_again(coco, labels):
    root = coco.write()
    data = import_coco(root, "detect").data
    (data.parent / "images/train/a.png").unlink()
    assert set(labels(import_coco(root, "detect").data)) == {"a.png", "b.png"}


def test_the_report_lies_beside_the_yaml(coco):
    coco.annotations.append(coco.box(7, 1, [0, 0, 5, 5], iscrowd=1))
    report = import_coco(coco.write(), "detect")
    content = json.loads((report.data.parent / "import_report.json").read_text())
    assert content["splits"][0]["dropped"] == {"crowd": 1}
    assert content["splits"][0]["examples"] == {"crowd": ["annotation 1 of image 7"]}
    assert any("1 crowd" in line for line in report.lines())


def test_threads_importing_at_once_agree(coco):
    root = coco.write()
    found, threads = (
        [],
        [
            threading.Thread(target=lambda: found.append(import_coco(root, "detect")))
            for _ in range(4)
        ],
    )
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(map(str, found))) == 1
    assert [p.name for p in found[0].data.parent.parent.iterdir()] == [found[0].data.parent.name]


def test_a_killed_import_leaves_nothing_half_done(coco, labels, tmp_path):
    root = coco.write()
    code = (
        "import os, signal, sys; from yolo_stability.data.coco import importer as coco;"
        "coco._write = lambda *a: os.kill(os.getpid(), signal.SIGKILL);"
        "coco.import_coco(coco.Path(sys.argv[1]), 'detect')"
    )
    assert subprocess.run([sys.executable, "-c", code, str(root)], check=False).returncode == -9
    left = [p.name for p in (tmp_path / "cache" / "coco").iterdir()]
    assert len(left) == 1
    assert left[0].startswith(".work-")
    assert set(labels(import_coco(root, "detect").data)) == {"a.png", "b.png"}


def test_importing_the_package_loads_neither_torch_nor_ultralytics():
    code = (
        "import sys, yolo_stability.data; "
        "assert not {'torch', 'ultralytics', 'cv2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unwritable_cache_is_one_sentence(coco, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("YOLO_STABILITY_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match=r"Cannot write the cache .* YOLO_STABILITY_CACHE"):
        import_coco(coco.write(), "detect")


def test_a_read_only_dataset_is_imported(coco, labels):
    root = coco.write()
    for path in (root, root / "annotations", root / "train2017"):
        path.chmod(0o555)
    try:
        assert set(labels(import_coco(root, "detect").data)) == {"a.png", "b.png"}
    finally:
        for path in (root, root / "annotations", root / "train2017"):
            path.chmod(0o755)


@pytest.mark.coco_mini
@pytest.mark.parametrize("task", ["detect", "segment", "pose"])
def test_coco_mini_against_its_own_json(coco_mini, labels, snapshot, task):
    """Reference: names, boxes and keypoints of all non-crowd objects, read from the JSON."""
    before = snapshot(coco_mini)
    report = import_coco(coco_mini, task)
    assert _scan(report.data) == (28 if task == "pose" else 80)
    assert snapshot(coco_mini) == before

    kind = "person_keypoints" if task == "pose" else "instances"
    truth = json.loads((coco_mini / "annotations" / f"{kind}_train2017.json").read_text())
    images = {i["id"]: i for i in truth["images"]}
    names = {c["id"]: c["name"] for c in truth["categories"]}
    expected = defaultdict(list)
    for a in truth["annotations"]:
        if a["iscrowd"] or (task == "pose" and a["num_keypoints"] == 0):
            continue
        image = images[a["image_id"]]
        x, y, w, h = a["bbox"]
        row = [x + w / 2, y + h / 2, w, h, *(a["keypoints"] if task == "pose" else ())]
        expected[image["file_name"]].append((names[a["category_id"]], row))
    found = labels(report.data)
    classes = yaml.safe_load(report.data.read_text())["names"]
    assert sorted(classes.values()) == sorted(names.values())
    for image in truth["images"]:
        size = np.array([image["width"], image["height"]])
        got = []
        for row in found.get(image["file_name"], []):
            values = np.array(row[1:])
            if task == "segment":
                points = values.reshape(-1, 2) * size
                low, high = points.min(0), points.max(0)
                values = np.concatenate([(low + high) / 2, high - low])
            else:
                values[:4] *= np.tile(size, 2)
            if task == "pose":
                values[4::3] *= size[0]
                values[5::3] *= size[1]
            got.append((classes[int(row[0])], values))
        wanted = expected[image["file_name"]]
        assert sorted(n for n, _ in got) == sorted(n for n, _ in wanted)
        for name, row in wanted:
            distance = min(
                float(np.abs(values - row).max()) for other, values in got if other == name
            )
            assert distance < (3.0 if task == "segment" else 0.6), (
                image["file_name"],
                name,
                distance,
            )


@pytest.mark.coco_mini
def test_coco_mini_images_are_the_originals(coco_mini):
    report = import_coco(coco_mini, "detect")
    for path in (report.data.parent / "images" / "train").iterdir():
        original = coco_mini / "train2017" / path.name
        assert np.array_equal(cv2.imread(str(path)), cv2.imread(str(original)))
