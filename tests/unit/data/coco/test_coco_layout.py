"""Finding the splits of a COCO folder."""

from __future__ import annotations

import shutil

import pytest

from yolo_stability.core.errors import DataError
from yolo_stability.data import import_coco
from yolo_stability.data.coco.layout import image_listing
from yolo_stability.data.files import SUFFIXES


def test_a_missing_val_set_is_one_sentence(coco):
    root = coco.write()
    (root / "annotations" / "instances_val2017.json").unlink()
    with pytest.raises(
        DataError, match=r"has no val set for detect: annotations/instances_val\*.json is missing"
    ):
        import_coco(root, "detect")


def test_the_wrong_kind_of_annotations_names_what_is_there(coco):
    with pytest.raises(DataError, match=r"no train set for pose.*found instances_train2017.json"):
        import_coco(coco.write(), "pose")


def test_two_train_sets_are_refused(coco):
    root = coco.write()
    annotations = root / "annotations"
    shutil.copy(annotations / "instances_train2017.json", annotations / "instances_train2014.json")
    with pytest.raises(
        DataError, match=r"Both instances_train2014.json and instances_train2017.json"
    ):
        import_coco(root, "detect")


def test_a_task_without_a_coco_form_is_refused(coco):
    with pytest.raises(DataError, match="supports detect, segment and pose, not obb"):
        import_coco(coco.write(), "obb")


def test_a_loop_of_links_ends(coco):
    root = coco.write()
    (root / "train2017" / "loop").symlink_to(root)
    assert sorted(line.split()[0] for line in image_listing(root)) == [
        "train2017/a.png",
        "train2017/b.png",
        "val2017/a.png",
        "val2017/b.png",
    ]


def test_the_image_formats_are_those_of_ultralytics():
    from ultralytics.data.utils import IMG_FORMATS

    assert {s.removeprefix(".") for s in SUFFIXES} == IMG_FORMATS - {
        "jpeg2000"
    }  # listed by older versions only
