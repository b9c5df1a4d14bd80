"""Notices before a training that will write into the user's folders."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from yolo_stability.data import notices as announce
from yolo_stability.data import resolve_data


@pytest.fixture
def yaml(tmp_path):
    image = np.zeros((20, 20, 3), np.uint8)
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (tmp_path / "set" / kind / split).mkdir(parents=True)
        path = tmp_path / "set" / "images" / split / "a.jpg"
        path.write_bytes(cv2.imencode(".jpg", image)[1].tobytes())
        (tmp_path / "set" / "labels" / split / "a.txt").write_text("0 .5 .5 .2 .2\n")
    path = tmp_path / "set" / "data.yaml"
    path.write_text(f"path: {path.parent}\ntrain: images/train\nval: images/val\nnames: [cat]\n")
    return path


def test_caches_beside_the_labels_are_announced_once(yaml, snapshot):
    before = snapshot(yaml.parent)
    labels = yaml.parent / "labels"
    caches = f"{labels / 'train.cache'} and {labels / 'val.cache'}"
    notice = f"Ultralytics will write {caches} (its scan of the labels)"
    assert resolve_data(yaml, "detect").notes == (notice,)
    assert resolve_data(yaml.parent, "pose").notes == (notice,)
    assert snapshot(yaml.parent) == before
    (labels / "train.cache").touch()
    assert resolve_data(yaml, "detect").notes == (
        notice.replace(f"{labels / 'train.cache'} and ", ""),
    )
    (labels / "val.cache").touch()
    assert resolve_data(yaml, "detect").notes == ()


def test_jpegs_that_would_be_rewritten_are_announced(yaml, monkeypatch, snapshot):
    path = yaml.parent / "images" / "val" / "a.jpg"
    path.write_bytes(path.read_bytes() + b"\0")
    before = snapshot(yaml.parent)
    notes = resolve_data(yaml, "detect").notes
    assert notes[1].startswith("1 JPEG has no end marker")
    assert notes[1].endswith(str(path))
    assert snapshot(yaml.parent) == before
    monkeypatch.setattr(announce, "CHEAP", 1)
    assert len(resolve_data(yaml, "detect").notes) == 1


def test_a_folder_that_cannot_be_written_gets_no_cache_and_no_announcement(yaml, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert resolve_data(yaml, "detect").notes == ()


@pytest.mark.parametrize("task", ["classify", "semantic", "depth"])
def test_other_labels_are_not_spoken_of(yaml, task):
    assert resolve_data(yaml, task).notes == ()


def test_a_broken_yaml_is_left_to_ultralytics(yaml):
    yaml.write_text("train: [")
    assert resolve_data(yaml, "detect").notes == ()
