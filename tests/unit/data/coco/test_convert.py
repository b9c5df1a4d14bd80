"""Broken and hostile COCO input: counted with a reason, or refused in one sentence."""

from __future__ import annotations

import pytest
from PIL import Image

from yolo_stability.core.errors import DataError
from yolo_stability.data import import_coco

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("bbox", "reason"),
    [
        ([NAN, 1, 5, 5], "box not finite"),
        ([1, 1, INF, 5], "box not finite"),
        ([1, 1, 10**400, 5], "box not finite"),
        ([1, 1, "5", 5], "box not finite"),
        ([1, 1, True, 5], "box not finite"),
        ([1, 1, -5, 5], "box with negative size"),
        ([1, 1, 0, 5], "box without area"),
        ([1, 1, 5, 1e-9], "box without area"),
        ([41, 1, 5, 5], "box outside its image"),
        ([-9, 1, 5, 5], "box outside its image"),
        ([1, 1, 5], "without a box of four numbers"),
        (None, "without a box of four numbers"),
        ({"x": 1}, "without a box of four numbers"),
    ],
)
def test_bad_boxes_are_dropped_by_name(coco, labels, bbox, reason):
    coco.annotations.append(coco.box(9, 1, bbox))
    report = import_coco(coco.write(), "detect")
    assert report.splits[0].dropped == {reason: 1}
    assert labels(report.data)["b.png"] == []
    assert len(labels(report.data)["a.png"]) == 1


def test_a_box_that_sticks_out_is_cut(coco, labels):
    coco.annotations = [coco.box(7, 1, [-10, 10, 20, 20])]
    report = import_coco(coco.write(), "detect")
    assert labels(report.data)["a.png"] == [[0, 5 / 40, 15 / 20, 10 / 40, 10 / 20]]
    assert report.splits[0].changed == {"box cut to its image": 1}


def test_crowd_and_duplicates_are_dropped(coco, labels):
    coco.annotations += [
        coco.box(7, 1, [4, 2, 20, 10]),
        coco.box(7, 2, [4, 2, 20, 10]),
        coco.box(7, 1, [1, 1, 2, 2], iscrowd=1),
    ]
    report = import_coco(coco.write(), "detect")
    assert report.splits[0].dropped == {"duplicate": 1, "crowd": 1}
    assert sorted(row[0] for row in labels(report.data)["a.png"]) == [0, 1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"category_id": 99}, "of an unknown category"),
        ({"category_id": None}, "of an unknown category"),
        ({"category_id": [1]}, "of an unknown category"),
        ({"image_id": 12345}, "of an image that is not there"),
        ({"image_id": {"a": 1}}, "of an image that is not there"),
    ],
)
def test_annotations_of_nothing_known_are_dropped(coco, change, reason):
    coco.annotations.append(coco.box(7, 1, [1, 1, 5, 5]) | change)
    assert import_coco(coco.write(), "detect").splits[0].dropped == {reason: 1}


def test_an_annotation_that_is_no_object_is_dropped(coco):
    coco.annotations += [None, 3, "x", []]
    assert import_coco(coco.write(), "detect").splits[0].dropped == {"no annotation": 4}


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"id": 3, "file_name": "gone.png", "width": 40, "height": 20}, "file missing"),
        ({"id": 3, "file_name": "x" * 5000 + ".png", "width": 40, "height": 20}, "file missing"),
        ({"id": 7, "file_name": "b.png", "width": 40, "height": 20}, "listed twice"),
        ({"id": 3, "file_name": "./b.png", "width": 40, "height": 20}, "listed twice"),
        ({"id": None, "file_name": "b.png", "width": 40, "height": 20}, "without an id"),
        (None, "without an id"),
    ],
)
def test_a_bad_image_is_left_out_and_the_rest_kept(coco, labels, entry, reason):
    coco.images.append(entry)
    coco.annotations.append(coco.box(3, 2, [1, 1, 5, 5]))
    report = import_coco(coco.write(), "detect")
    assert report.splits[0].images_dropped == {reason: 1}
    assert set(labels(report.data)) == {"a.png", "b.png"}


def test_empty_files_and_foreign_formats_are_left_out(coco):
    names = ["empty.png", "movie.gif"]
    coco.picture("empty.png").write_bytes(b"")
    coco.picture("movie.gif.png").rename(coco.root / "train2017" / "movie.gif")
    coco.images += [
        {"id": i, "file_name": n, "width": 40, "height": 20} for i, n in enumerate(names)
    ]
    report = import_coco(coco.write(), "detect")
    assert report.splits[0].images_dropped == {
        "file empty": 1,
        "in a format that Ultralytics does not read": 1,
    }


@pytest.mark.parametrize(
    "size", [{}, {"width": 0, "height": 20}, {"width": NAN, "height": 20}, {"width": "x"}]
)
def test_a_missing_size_is_read_from_the_image(coco, labels, size):
    coco.images[0] = {"id": 7, "file_name": "a.png", **size}
    assert labels(import_coco(coco.write(), "detect").data)["a.png"] == [[0, 0.35, 0.35, 0.5, 0.5]]


@pytest.mark.parametrize(
    "name",
    [
        "../a.png",
        "x/../../a.png",
        "/etc/passwd.png",
        "C:\\a.png",
        "..\\a.png",
        "\\\\host\\a.png",
        "a\n.png",
        "a\0.png",
        "\ud800.png",
    ],
)
def test_names_that_leave_the_folder_are_refused(coco, name):
    coco.images.append({"id": 3, "file_name": name, "width": 40, "height": 20})
    with pytest.raises(
        DataError,
        match=r"lists the image .*(leave the dataset's folder|characters that no file can have)",
    ):
        import_coco(coco.write(), "detect")


@pytest.mark.parametrize("name", [None, "", " ", 5, []])
def test_an_image_without_a_name_is_refused(coco, name):
    coco.images.append({"id": 3, "file_name": name, "width": 40, "height": 20})
    with pytest.raises(DataError, match="without a file_name"):
        import_coco(coco.write(), "detect")


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_links_out_of_the_dataset_are_refused(coco, tmp_path, kind):
    outside = tmp_path / "outside"
    coco.picture("secret.png").rename((outside.mkdir() or outside) / "secret.png")
    if kind == "file":
        (coco.root / "train2017" / "linked.png").symlink_to(outside / "secret.png")
        name = "linked.png"
    else:
        (coco.root / "train2017" / "door").symlink_to(outside)
        name = "door/secret.png"
    coco.images.append({"id": 3, "file_name": name, "width": 40, "height": 20})
    with pytest.raises(DataError, match="is a link out of"):
        import_coco(coco.write(), "detect")


def test_links_inside_the_dataset_and_a_linked_split_are_fine(coco, labels, tmp_path):
    root = coco.write()
    (root / "train2017").rename(tmp_path / "elsewhere")
    (root / "train2017").symlink_to(tmp_path / "elsewhere")
    assert set(labels(import_coco(root, "detect").data)) == {"a.png", "b.png"}


@pytest.mark.parametrize(
    ("keypoints", "reason"),
    [
        ([5, 5, 2], "keypoint list not 3 x 3 long"),
        ("abc", "keypoint list not 3 x 3 long"),
        ([0] * 9, "without labelled keypoints"),
        ([5, 5, 0] * 3, "without labelled keypoints"),
        (None, "without labelled keypoints"),
        ([NAN, 1, 2] * 3, "without labelled keypoints"),
    ],
)
def test_people_without_usable_keypoints_are_dropped(people, keypoints, reason):
    people.annotations.append(people.box(9, 1, [1, 1, 9, 9], keypoints=keypoints))
    assert import_coco(people.write(), "pose").splits[0].dropped == {reason: 1}


def test_a_keypoint_outside_its_image_loses_its_label(people, labels):
    """Ultralytics would ignore the whole image for it."""
    people.annotations = [people.box(7, 1, [4, 2, 20, 10], keypoints=[5, 5, 2, 99, 5, 2, 5, 5, 7])]
    report = import_coco(people.write(), "pose")
    assert labels(report.data)["a.png"][0][5:] == [0.125, 0.25, 2, 0, 0, 0, 0, 0, 0]
    assert report.splits[0].changed == {"keypoint outside its image or invalid, now unlabelled": 2}


def test_outlines_are_cut_to_the_image_or_become_the_box(coco, labels):
    coco.annotations = [
        coco.box(7, 1, [0, 0, 40, 20], segmentation=[[-9, 0, 50, 0, 50, 30]]),
        coco.box(9, 1, [0, 0, 20, 10], segmentation=[[1, 2, 3], [NAN] * 6]),
    ]
    report = import_coco(coco.write(), "segment")
    assert labels(report.data) == {
        "a.png": [[0, 0, 0, 1, 0, 1, 1]],
        "b.png": [[0, 0, 0, 0.5, 0, 0.5, 0.5, 0, 0.5]],
    }
    assert report.splits[0].changed == {"without an outline, now its box": 1}


def test_a_train_set_without_anything_usable_is_refused(coco):
    coco.annotations = [coco.box(7, 1, [0, 0, 5, 5], iscrowd=1)]
    with pytest.raises(DataError, match="no usable annotation for detect: 1 crowd"):
        import_coco(coco.write(), "detect")


def test_images_that_are_nowhere_are_refused(coco):
    for image in coco.images:
        image["file_name"] = "gone-" + image["file_name"]
    with pytest.raises(DataError, match=r"None of the images .*gone-a.png.* is in"):
        import_coco(coco.write(), "detect")


@pytest.mark.parametrize(
    ("size", "orientation", "reason"),
    [
        ((40, 20), 1, None),
        ((20, 40), 6, None),
        ((40, 20), 6, "annotated as stored, but turned by its EXIF tag"),
        ((40, 20), 3, None),
        ((80, 40), 1, "size in the JSON is not the file's"),
    ],
)
def test_a_size_that_is_not_the_files_is_reported(coco, labels, size, orientation, reason):
    exif = Image.Exif()
    exif[274] = orientation
    path = coco.picture("turned.jpg")
    Image.open(path).convert("RGB").save(path, exif=exif)
    coco.images.append({"id": 3, "file_name": "turned.jpg", "width": size[0], "height": size[1]})
    coco.annotations.append(coco.box(3, 1, [0, 0, 10, 10]))
    report = import_coco(coco.write(), "detect").splits[0]
    assert report.doubts == ({reason: 1} if reason else {})
    assert labels(import_coco(coco.root, "detect").data)["turned.jpg"] == [
        pytest.approx([0, 5 / size[0], 5 / size[1], 10 / size[0], 10 / size[1]])
    ]
    if reason:
        assert report.examples[reason] == [
            f"turned.jpg: JSON {size[0]}x{size[1]}, file {_upright(orientation)}"
        ]
        assert reason in report.line()


def _upright(orientation):
    return "20x40" if orientation > 4 else "40x20"


def test_a_turned_image_without_a_stated_size_is_measured_upright(coco, labels):
    exif = Image.Exif()
    exif[274] = 6
    path = coco.picture("turned.jpg")
    Image.open(path).convert("RGB").save(path, exif=exif)
    coco.images.append({"id": 3, "file_name": "turned.jpg"})
    coco.annotations.append(coco.box(3, 1, [0, 0, 10, 10]))
    assert labels(import_coco(coco.write(), "detect").data)["turned.jpg"] == [
        [0, 5 / 20, 5 / 40, 10 / 20, 10 / 40]
    ]


def test_an_image_that_is_none_is_left_out(coco, labels):
    coco.picture("text.jpg").write_text("not a picture")
    coco.images.append({"id": 3, "file_name": "text.jpg", "width": 40, "height": 20})
    coco.annotations.append(coco.box(3, 1, [0, 0, 10, 10]))
    report = import_coco(coco.write(), "detect")
    assert report.splits[0].images_dropped == {"file damaged": 1}
    assert report.splits[0].dropped == {"of an image that is not there": 1}
    assert set(labels(report.data)) == {"a.png", "b.png"}
