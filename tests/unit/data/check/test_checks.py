"""The registry of checks, and what each check separates: a mistake from a harmless neighbor of it."""

from __future__ import annotations

import inspect
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_set_builders import POINTS, Builder, boxes_of, picture, points_of, pose, with_points

from yolo_stability.data.check.check import check_data
from yolo_stability.data.check.checks import CHECKS
from yolo_stability.data.check.findings import KINDS, Found


def findings(path: Path, kind: str, **options: object) -> list[Found]:
    return [f for f in check_data(path, **options).found if f.kind == kind]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", list(CHECKS))
def test_a_check_is_one_documented_file(name: str) -> None:
    check = CHECKS[name]
    module = inspect.getmodule(check)
    assert module is not None
    assert module.__all__ == [check.__name__]
    assert check.__name__ == "".join(part.capitalize() for part in name.split("_"))
    assert CHECKS.summaries[name].endswith(".")
    assert name not in KINDS, "the name is that of a finding of the scan"
    assert set(check.tasks) <= {"detect", "segment", "pose", "obb", "classify"}
    assert all(check.thing)


# --- boxes ----------------------------------------------------------------------------------------


def test_large_images_with_small_objects_are_a_question_of_imgsz(tmp_path: Path) -> None:
    """Objects of 8 px in images of 2000 px are 2.6 px at 640, and 0.4 px at 96."""
    builder = Builder(tmp_path / "set").build(
        row=lambda label, b: (label, b[0], b[1], 8 / 2000, 8 / 1500),
        draw=lambda seed: picture(seed, (2000, 1500)),
        suffix=".jpg",
    )
    path = builder.write()
    assert findings(path, "specks") == []
    train, val = findings(path, "specks", imgsz=96)
    assert (train.split, train.severity, train.count) == ("train", "damage", train.of)
    assert "Raise imgsz=" in train.message
    assert "imgsz=96" in val.message


def test_a_single_speck_in_many_boxes_is_no_damage(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "set").build()
    rows = [(0, *box) for seed in range(40) for box in boxes_of(seed)]
    builder.add("train", "crowd", picture(77), [*rows, (0, 0.5, 0.5, 0.001, 0.001)])
    (found,) = findings(builder.write(), "specks")
    assert (found.severity, found.count) == ("warning", 1)
    assert found.examples == ("labels/train/crowd.txt:121",)


def test_boxes_a_little_beyond_the_image_are_rounding(tmp_path: Path) -> None:
    path = Builder(tmp_path / "set").build(row=lambda c, b: (c, b[2] / 2 - 0.01, *b[1:])).write()
    assert findings(path, "beyond") == []
    path = Builder(tmp_path / "cut").build(row=lambda c, b: (c, b[2] / 2 - 0.05, *b[1:])).write()
    assert [f.severity for f in findings(path, "beyond")] == ["damage", "damage"]


def test_boxes_that_fill_the_image_are_no_corners(tmp_path: Path) -> None:
    path = Builder(tmp_path / "set").build(row=lambda c, _: (c, 0.5, 0.5, 1, 1)).write()
    assert {f.kind for f in check_data(path).found} <= {"duplicate"}


# --- keypoints ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flip", "count", "why"),
    [
        ([1, 0, 2], 1, "missing"),
        ([1, 0, 2, 9], 1, "no keypoint"),
        ([1, 0, 2, "3"], 1, "no keypoint"),
        ([1, 2, 0, 3], 3, "not mutual"),
        ([1, 0, 3, 2], 2, "different heights"),
    ],
)
def test_each_fault_of_flip_idx_is_named(
    tmp_path: Path, flip: list[object], count: int, why: str
) -> None:
    (found,) = findings(pose(tmp_path / "set", with_points, flip_idx=flip), "flip_idx")
    assert (found.split, found.severity, found.count) == ("all", "damage", count)
    assert why in found.why


def test_names_of_keypoints_show_sides_that_are_not_exchanged(tmp_path: Path) -> None:
    names = ["left_hand", "right_hand", "head", "tail"]
    wrong = pose(tmp_path / "a", with_points, flip_idx=[0, 1, 2, 3], kpt_names={0: names})
    (found,) = findings(wrong, "flip_idx")
    assert (found.count, found.examples) == (2, ("flip_idx[0] = 0", "flip_idx[1] = 1"))
    right = pose(tmp_path / "b", with_points, kpt_names={0: names})
    assert findings(right, "flip_idx") == []
    assert findings(pose(tmp_path / "c", with_points, flip_idx=None), "flip_idx") == []


@pytest.mark.parametrize(("visibility", "count"), [(2, 36), (1, 36), (0, 0)])
def test_keypoints_at_zero_count_where_they_are_visible(
    tmp_path: Path, visibility: int, count: int
) -> None:
    def row(_: int, box: tuple[float, ...]) -> tuple[float, ...]:
        points = points_of(box, hidden=(3,))
        return (
            0,
            *box,
            *(v for i, p in enumerate(points) for v in (*p, visibility if i == 3 else 2)),
        )

    found = [f for f in findings(pose(tmp_path / "set", row), "kpt_zero") if f.split == "train"]
    assert [(f.count, f.severity) for f in found] == ([(count, "damage")] if count else [])


def test_a_kpt_shape_of_the_same_number_of_columns_moves_keypoints_out_of_their_boxes(
    tmp_path: Path,
) -> None:
    """Four keypoints with visibility 1 have as many columns as six without."""

    def row(_: int, box: tuple[float, ...]) -> tuple[float, ...]:
        small = (*box[:2], box[2] / 4, box[3] / 4)
        return (0, *small, *(v for p in points_of(small) for v in (*p, 1)))

    right = pose(tmp_path / "right", row)
    assert findings(right, "kpt_outside") == []
    wrong = pose(tmp_path / "wrong", row, kpt_shape=[6, 2], flip_idx=None)
    assert {f.split for f in findings(wrong, "kpt_outside")} == {"train", "val"}
    assert POINTS * 3 == 6 * 2


# --- pictures -------------------------------------------------------------------------------------


def deep(root: Path, *factors: int) -> Path:
    """Write 16-bit pictures: 8 bits times a factor."""
    turn = iter(factors * 100)

    def draw(seed: int) -> np.ndarray:
        return cv2.cvtColor(picture(seed), cv2.COLOR_BGR2GRAY).astype(np.uint16) * next(turn)

    return Builder(root).build(draw=draw).write()


@pytest.mark.parametrize(
    ("factors", "severities"),
    [
        ((4,), {"damage"}),
        ((16,), {"damage"}),
        ((60,), {"warning"}),
        ((257,), set()),
        ((257, 257, 257, 4), set()),  # single dark pictures among bright ones
    ],
)
def test_dark_is_a_property_of_most_deep_images(
    tmp_path: Path, factors: tuple[int, ...], severities: set[str]
) -> None:
    found = findings(deep(tmp_path / "set", *factors), "dark")
    assert {f.severity for f in found if f.split == "train"} == severities


def test_sixteen_bits_in_color_are_read_as_well(tmp_path: Path) -> None:
    for suffix in (".png", ".tif"):
        path = Builder(tmp_path / suffix[1:]).build(
            draw=lambda seed: picture(seed).astype(np.uint16) * 4, suffix=suffix
        )
        assert [f.severity for f in findings(path.write(), "dark")] == ["damage", "damage"]


def test_uniform_deep_images_lose_nothing(tmp_path: Path) -> None:
    path = Builder(tmp_path / "set").build(draw=lambda seed: np.full((64, 64), seed + 9, np.uint16))
    assert findings(path.write(), "dark") == []


def test_copies_in_a_split_matter_where_their_labels_differ(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "set").build()
    rows = [(j % 2, *box) for j, box in enumerate(boxes_of(0))]
    builder.add("train", "copy", picture(0), rows)
    (found,) = findings(builder.write(), "repeated")
    assert (found.severity, found.count) == ("info", 1)
    builder.add("train", "copy", picture(0), rows[:1])
    (found,) = findings(builder.write(), "repeated")
    assert (found.severity, found.count) == ("warning", 1)
    assert found.examples == ("images/train/train00.png = images/train/copy.png",)


def test_a_copy_saved_again_is_nearly_equal(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "set").build()
    coded = cv2.imencode(".jpg", picture(0), [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
    (builder.root / "images" / "val" / "val00.jpg").write_bytes(coded)
    report = check_data(builder.write())
    (found,) = [f for f in report.found if f.kind == "near"]
    assert (found.severity, found.split, found.count) == ("info", "val", 1)
    assert found.examples == ("images/val/val00.jpg ~ images/train/train00.png",)
    assert not any(f.kind == "leak" for f in report.found)


# --- label files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".xml", ".json"])
def test_labels_of_another_format_are_named(tmp_path: Path, suffix: str) -> None:
    path = Builder(tmp_path / "set").build().write()
    for file in (path.parent / "labels" / "val").iterdir():
        file.rename(file.with_suffix(suffix))
    (found,) = findings(path, "unlabelled")
    assert found.split == "val"
    assert "Convert" in found.message
    assert "labels/val" in found.examples[1]


def test_labels_beside_the_images_are_found(tmp_path: Path) -> None:
    path = Builder(tmp_path / "set").build().write()
    for file in (path.parent / "labels" / "train").iterdir():
        file.rename(path.parent / "images" / "train" / file.name)
    (found,) = findings(path, "unlabelled")
    assert found.split == "train"
    assert "in images/train: move them to labels/train" in found.message


def test_one_picture_under_two_suffixes_is_a_warning(tmp_path: Path) -> None:
    path = Builder(tmp_path / "set").build().write()
    coded = cv2.imencode(".bmp", picture(0))[1].tobytes()
    (path.parent / "images" / "train" / "train00.bmp").write_bytes(coded)
    (found,) = findings(path, "labels_shared")
    assert (found.severity, found.count) == ("warning", 1)


# --- classes --------------------------------------------------------------------------------------


def test_classes_without_labels(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "set").build()
    names = ["cat", "dog", "bird", "fish"]
    (found,) = findings(builder.write(names=names), "class_missing")
    assert (found.severity, found.examples) == ("info", ("2 bird", "3 fish"))
    builder.add("val", "fish", picture(88), [(3, 0.5, 0.5, 0.2, 0.2)])
    (found,) = findings(builder.write(names=names), "class_missing")
    assert (found.severity, found.examples[0]) == ("warning", "3 fish")
    assert "1 of them occur in val" in found.message


def test_a_frequent_class_of_train_that_val_lacks(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "set").build()
    for file in (builder.root / "labels" / "val").iterdir():
        file.write_text(
            file.read_text().replace("1 ", "0 ", 1)
            if file.read_text()[0] == "1"
            else "0 .5 .5 .2 .2\n" * 1
        )
    found = [f for f in findings(builder.write(), "class_missing") if f.split == "val"]
    assert found == [], "five labels of val are too few to miss a class"
    for i in range(12):
        builder.add("val", f"more{i}", picture(300 + i), [(0, *box) for box in boxes_of(300 + i)])
    (found_one,) = [f for f in findings(builder.write(), "class_missing") if f.split == "val"]
    assert (found_one.severity, found_one.examples) == ("info", ("1 dog",))


def test_one_class_holds_everything(tmp_path: Path) -> None:
    path = Builder(tmp_path / "set").build(row=lambda _, box: (0, *box)).write()
    (found,) = findings(path, "class_single")
    assert (found.severity, found.count, found.of) == ("warning", 36, 36)
    assert not check_data(path).damaged


def test_a_rare_class_is_rare_next_to_the_others(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "set").build()
    builder.add("train", "fish", picture(88), [(2, 0.5, 0.5, 0.2, 0.2)])
    (found,) = findings(builder.write(names=["cat", "dog", "fish"]), "class_rare")
    assert (found.severity, found.count, found.of, found.examples) == ("info", 1, 3, ("2 fish: 1",))
