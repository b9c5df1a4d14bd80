"""Classification sets: class folders that cannot be trained or measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from data_set_builders import classes

from yolo_stability.compat.images import aligns_classes
from yolo_stability.core.errors import DataError
from yolo_stability.data.check.check import check_data

LACKING = "warning" if aligns_classes() else "damage"
"""Without alignment by name the classes after a missing folder are measured as others."""

CASES = [
    ({"train": {"a": 3, "b": 3}, "val": {"a": 1, "b": 1}}, set()),
    ({"train": {"a": 3}, "val": {"a": 1}}, {("folder_single", "damage")}),
    ({"train": {"a": 3, "b": 3, "c": 0}, "val": {"a": 1, "b": 1}}, {("folder_empty", "warning")}),
    (
        {"train": {"a": 3, "b": 3, "c": 0}, "val": {"a": 1, "b": 1, "c": 1}},
        {("folder_empty", "damage")},
    ),
    ({"train": {"a": 3, "b": 3, "c": 3}, "val": {"a": 1, "c": 1}}, {("folder_val", LACKING)}),
    ({"train": {"a": 3, "b": 3}, "val": {"a": 1, "B": 1}}, {("folder_val", "damage")}),
    ({"train": {"a": 3, "b": 3}}, {("folder_val", "damage")}),
    ({"train": {"a": 3, "b": 3}, "test": {"a": 1, "b": 1}}, set()),
]


@pytest.mark.parametrize(("counts", "expected"), CASES)
def test_class_folders(
    tmp_path: Path, counts: Mapping[str, Mapping[str, int]], expected: set[tuple[str, str]]
) -> None:
    report = check_data(classes(tmp_path / "set", counts))
    assert report.task == "classify"
    assert {(f.kind, f.severity) for f in report.found} == expected
    assert report.damaged == any(severity == "damage" for _, severity in expected)


def test_a_broken_image_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    root = classes(tmp_path / "set", {"train": {"a": 2, "b": 2}, "val": {"a": 1, "b": 1}})
    (root / "train" / "a" / "0.png").write_bytes(b"no picture")
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    report = check_data(root, "classify")
    (found,) = report.found
    assert (found.kind, found.count) == ("damaged", 1)
    assert found.examples[0].startswith("train/a/0.png  ")
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_what_is_no_classification_set_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no classification set: pass a folder with train/"):
        check_data(tmp_path, "classify")
