"""Reading annotation files, and the classes they define."""

from __future__ import annotations

import json

import pytest

from yolo_stability.core.errors import DataError
from yolo_stability.data import import_coco
from yolo_stability.data.coco.annotations import COCO_KEYPOINTS, classes_of
from yolo_stability.data.synthetic.figures import KEYPOINTS


def spoil(root, text):
    (root / "annotations" / "instances_train2017.json").write_bytes(text)
    return root


@pytest.mark.parametrize("keep", [0, 1, 50, -1])
def test_truncated_json_is_refused(coco, keep):
    root = coco.write()
    whole = (root / "annotations" / "instances_train2017.json").read_bytes()
    with pytest.raises(DataError, match=r"instances_train2017.json is not valid JSON .* truncated"):
        import_coco(spoil(root, whole[:keep]), "detect")


@pytest.mark.parametrize(
    "text", [b"[]", b"3", b"null", b'{"images": []}', b'{"images": {}, "annotations": 1}']
)
def test_json_that_is_no_coco_is_refused(coco, text):
    with pytest.raises(DataError, match="has no list"):
        import_coco(spoil(coco.write(), text), "detect")


@pytest.mark.parametrize("text", [b"\xff\xfe\x00", b"[" * 200_000, b'{"a": ' + b"9" * 5000 + b"}"])
def test_hostile_json_is_refused(coco, text):
    with pytest.raises(DataError, match=r"instances_train2017\.json"):
        import_coco(spoil(coco.write(), text), "detect")


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
def test_each_part_is_needed(coco, key):
    root = coco.write()
    path = root / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    del content[key]
    with pytest.raises(DataError, match=f"has no list '{key}'"):
        import_coco(spoil(root, json.dumps(content).encode()), "detect")


@pytest.mark.parametrize(
    "bad", [None, {"id": 1}, {"name": "x"}, {"id": True, "name": "x"}, {"id": [1], "name": "x"}]
)
def test_a_bad_category_is_refused(coco, bad):
    coco.categories.append(bad)
    with pytest.raises(DataError, match="a category without id or name"):
        import_coco(coco.write(), "detect")


def test_no_categories_is_refused(coco):
    root = coco.write()
    with pytest.raises(DataError, match="lists no categories"):
        import_coco(spoil(root, b'{"images": [], "annotations": [], "categories": []}'), "detect")


def test_files_that_disagree_on_a_name_are_refused(coco):
    root = coco.write()
    path = root / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    content["categories"][0]["name"] = "horse"
    with pytest.raises(DataError, match="calls category 1 'cat', but it is 'horse' elsewhere"):
        import_coco(spoil(root, json.dumps(content).encode()), "detect")


def test_coco_people_flip_as_ultralytics_says():
    """The list of coco-pose.yaml."""
    classes = classes_of([("x", {"categories": [{"id": 1, "name": "person"}]})], "pose")
    assert classes.keypoints == COCO_KEYPOINTS == KEYPOINTS
    assert classes.flip() == [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
