"""Resolution of `data=`."""

from __future__ import annotations

import pytest

from yolo_stability.core.errors import DataError
from yolo_stability.data import resolve_data


@pytest.mark.parametrize(
    ("data", "task"),
    [
        ("coco8.yaml", "detect"),
        ("coco8", "detect"),
        ("https://example.com/set.zip", "detect"),
        ("ul://user/datasets/x", "detect"),
        ("mnist", "classify"),
    ],
)
def test_what_ultralytics_takes_passes_untouched(data, task):
    resolved = resolve_data(data, task)
    assert (resolved.data, resolved.notes) == (data, ())


def test_existing_files_and_folders_with_a_yaml_pass_untouched(tmp_path, coco):
    (tmp_path / "set.yaml").write_text("train: x")
    (tmp_path / "set.ndjson").write_text("{}")
    root = coco.write()
    (root / "data.yaml").write_text("train: x")
    for path in (tmp_path / "set.yaml", tmp_path / "set.ndjson", root):
        assert resolve_data(str(path), "detect").data == str(path)


def test_a_tilde_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "set.yaml").write_text("train: x")
    assert resolve_data("~/set.yaml", "detect").data == str(tmp_path / "set.yaml")


def test_a_coco_folder_is_imported(coco):
    resolved = resolve_data(coco.write(), "detect")
    assert resolved.data.endswith("/data.yaml")
    assert resolved.notes[1] == "train: 2 of 2 images, 1 of 1 annotations"


@pytest.mark.parametrize(
    ("data", "task", "text"),
    [
        ("shape", "detect", r"no dataset 'shape'.* Did you mean 'shapes'\?"),
        ("coco88.yaml", "detect", r"Did you mean .*'coco8.yaml'"),
        (
            "/nowhere/x.yaml",
            "detect",
            r"since /nowhere does not exist.* embedded set \(shapes, figures\)",
        ),
        ("data", "detect", "no dataset 'data'"),
        ("", "detect", "data= is empty"),
        ("*", "detect", "no dataset"),
        ("x" * 5000, "detect", "no dataset"),
        ("a\0b", "detect", "no dataset"),
        ("shapes", "pose", "trains detect and segment, not pose; use data=figures"),
        ("figures", "obb", "trains pose and detect, not obb; pass a dataset made for obb"),
    ],
)
def test_mistakes_are_one_sentence(data, task, text):
    with pytest.raises(DataError, match=text):
        resolve_data(data, task)


def test_a_typo_in_a_path_names_its_neighbour(tmp_path):
    (tmp_path / "birds.yaml").write_text("")
    with pytest.raises(DataError, match=r"Did you mean 'birds.yaml'\?"):
        resolve_data(tmp_path / "brids.yaml", "detect")


def test_an_annotation_file_points_to_its_folder(coco):
    root = coco.write()
    with pytest.raises(DataError, match=f"data={root}"):
        resolve_data(root / "annotations" / "instances_train2017.json", "detect")


def test_a_folder_with_neither_form_says_what_it_holds(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(
        DataError, match=r"neither a data YAML nor annotations/instances_train\*.json .*photos"
    ):
        resolve_data(tmp_path, "detect")
