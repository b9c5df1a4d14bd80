"""The check of a dataset against the scan that Ultralytics itself makes of a copy."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from yolo_stability.cli.main import main
from yolo_stability.compat.ultralytics import ultralytics_version
from yolo_stability.core.errors import DataError, StabilityError
from yolo_stability.data.check.check import check_data
from yolo_stability.data.check.labels import Layout, classify_labels
from yolo_stability.data.files import cache_file, images_of, label_file
from yolo_stability.data.resolve import resolve_data

VERSION = tuple(int(part) for part in re.findall(r"\d+", ultralytics_version)[:3])
current = pytest.mark.skipif(
    VERSION < (8, 4, 190),
    reason="the rules as of 8.4.190; with older ones the counts are Ultralytics' own all the same",
)
GOOD = "0 .5 .5 .2 .2\n"
DEFECTS = {
    "nan": "0 .5 .5 .2 .2\n0 nan .5 .2 .2\n",
    "infinite": "0 .5 inf .2 .2\n",
    "above": "0 .5 .5 .2 .2\n\n1 .5 1.02 .2 .2\n",
    "negative": "0 -.02 .5 .2 .2\n",
    "class": "2 .5 .5 .2 .2\n",
    "fraction": "0.5 .5 .5 .2 .2\n",
    "columns": "0 .5 .5 .2 .2\n0 .5 .5 .2\n",
    "number": "0 .5 .5 .2 cat\n",
    "mixed": "0 .1 .1 .2 .2 .3 .1\n0 .5 .5 .2 .2\n",
}
"""Label files that cost their image, by the kind that the check names."""


class YoloFolder:
    """A dataset in Ultralytics' own layout, with one image per defect."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.yaml = root / "data.yaml"
        self.task = "detect"
        self.yaml_text = "path: .\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n"
        root.mkdir()
        for split in ("train", "val"):
            self.add(f"{split}/good.png", GOOD)

    def add(self, name: str, label: str | bytes | None, content: bytes | None = None) -> Path:
        """Add an image, `split/name`, with its label file."""
        image = self.root / "images" / name
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(
            picture(image.suffix, seed=zlib.crc32(name.encode())) if content is None else content
        )
        if label is not None:
            path = Path(label_file(str(image)))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(label if isinstance(label, bytes) else label.encode())
        return image

    def write(self) -> Path:
        self.yaml.write_text(self.yaml_text.replace("path: .", f"path: {self.root}"))
        return self.yaml


def picture(suffix: str = ".png", size: tuple[int, int] = (40, 20), seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return cv2.imencode(suffix, pixels)[1].tobytes()


@pytest.fixture
def yolo(tmp_path: Path) -> YoloFolder:
    return YoloFolder(tmp_path / "set")


@pytest.fixture
def spoiled(yolo: YoloFolder) -> YoloFolder:
    """Return a folder with every defect of labels, images and other files."""
    for kind, text in DEFECTS.items():
        yolo.add(f"train/{kind}.png", text)
    yolo.add("train/encoding.png", b"0 .5 .5 .2 .2\n\xff\xfe\n")
    yolo.add("train/twice.png", GOOD + "1 .1 .1 .1 .1\n" + GOOD + GOOD)
    yolo.add("train/flat.png", "0 .5 .5 0 .2\n0 .5 .5 .2 .2\n")
    yolo.add("train/blank.png", "\n \n")
    yolo.add("train/background.png", None)
    yolo.add("train/bom.png", b"\xef\xbb\xbf" + GOOD.encode())
    yolo.add("train/margin.png", "0 1.005 -.005 .2 .2\n")
    yolo.add("train/broken.png", GOOD, content=b"no picture")
    yolo.add("train/small.png", GOOD, content=picture(size=(40, 9)))
    yolo.add("train/early.jpg", GOOD, content=picture(".jpg") + b"\0\0")
    yolo.add("train/cut.jpg", GOOD, content=picture(".jpg")[:-200])
    yolo.add("train/.hidden.png", GOOD)
    yolo.add("val/early.jpg", GOOD, content=picture(".jpg") + b"more")
    orphan = yolo.root / "labels" / "train" / "orphan.txt"
    orphan.write_text(GOOD)
    (yolo.root / "labels" / "train" / "classes.txt").write_text("cat\ndog\n")
    return yolo


def stock(folder: YoloFolder, split: str, task: str = "detect") -> dict[str, int]:
    """Return the labels by image name from Ultralytics' scan of a copy, the reference."""
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    data = check_det_dataset(str(folder.yaml))
    dataset = YOLODataset(img_path=data[split], data=data, task=task, imgsz=32, augment=False)
    return {Path(label["im_file"]).name: len(label["cls"]) for label in dataset.labels}


def copied(folder: YoloFolder, to: Path) -> YoloFolder:
    shutil.copytree(folder.root, to, symlinks=True)
    copy = object.__new__(YoloFolder)
    copy.root, copy.yaml, copy.yaml_text = to, to / "data.yaml", folder.yaml_text
    copy.write()
    return copy


def content(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes())
        for p in folder.rglob("*")
        if p.is_file()
    }


def test_the_counts_are_those_of_ultralytics_own_scan(spoiled: YoloFolder, tmp_path: Path) -> None:
    spoiled.write()
    before = content(spoiled.root)
    report = check_data(str(spoiled.yaml))
    assert content(spoiled.root) == before

    copy = copied(spoiled, tmp_path / "copy")
    first = content(copy.root)
    for audited in report.splits:
        kept = stock(copy, audited.split)
        assert (audited.images_kept, audited.labels_kept) == (len(kept), sum(kept.values()))
        assert audited.background == sum(n == 0 for n in kept.values())
        assert audited.images == len(list((copy.root / "images" / audited.split).glob("[!.]*")))
        ignored = sum(
            f.count for f in report.found if f.split == audited.split and f.group == "ignored"
        )
        assert ignored == audited.images - len(kept)

    after = content(copy.root)
    assert {str(copy.root / name) for name in after.keys() - first.keys()} == {
        path.replace(str(spoiled.root), str(copy.root)) for path in report.writes
    }
    changed = {name for name in first if after[name] != first[name]}
    listed = {where for f in report.found if f.kind == "rewritten" for where in f.examples}
    assert changed == listed
    assert {"images/train/early.jpg", "images/val/early.jpg"} <= changed


@current
def test_each_defect_is_named_with_its_file_and_line(spoiled: YoloFolder) -> None:
    report = check_data(str(spoiled.write()))
    found = {(f.split, f.kind): (f.count, f.examples) for f in report.found}
    for kind in DEFECTS:
        count, (where,) = found["train", kind]
        assert count == 1
        assert where.startswith(f"labels/train/{kind}.txt:"), where
    assert found["train", "nan"] == (1, ("labels/train/nan.txt:2  0 nan .5 .2 .2",))
    assert found["train", "above"][1] == ("labels/train/above.txt:3  1 .5 1.02 .2 .2",)
    assert found["train", "unreadable"][1][0].startswith("labels/train/encoding.txt  ")
    assert found["train", "duplicate"] == (
        2,
        ("labels/train/twice.txt:3", "labels/train/twice.txt:4"),
    )
    assert found["train", "flat"] == (1, ("labels/train/flat.txt:1",))
    assert {where.split()[0] for where in found["train", "damaged"][1]} >= {
        "images/train/broken.png",
        "images/train/small.png",
    }
    assert found["all", "unread"] == (1, ("labels/train/orphan.txt",))
    assert not any(f.kind == "other" for f in report.found)
    assert report.damaged


def test_a_healthy_set_is_exit_code_0(
    yolo: YoloFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(yolo.root.parent)
    yolo.write()
    assert main(["data", "check", "set/data.yaml"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "set/data.yaml, detect, 2 classes"
    assert out.endswith("Nothing would be lost.\n")
    assert str(yolo.root / "labels" / "train.cache") in out
    assert main(["data", "check", "set"]) == 0


@current
def test_damage_is_exit_code_3_and_fits_80_columns(
    spoiled: YoloFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    spoiled.write()
    assert main(["data", "check", str(spoiled.yaml), "--json"]) == 3
    parsed = json.loads(capsys.readouterr().out)
    assert parsed["damaged"] is True
    assert {f["kind"] for f in parsed["found"]} >= {
        *DEFECTS,
        "duplicate",
        "flat",
        "rewritten",
        "damaged",
    }
    assert main(["data", "check", str(spoiled.yaml)]) == 3
    out = capsys.readouterr().out
    assert [
        line for line in out.splitlines() if len(line) > 80 and str(spoiled.root) not in line
    ] == []


def test_an_image_list_may_name_files_that_are_not_there(yolo: YoloFolder, tmp_path: Path) -> None:
    yolo.yaml_text = yolo.yaml_text.replace("images/train", "train.txt")
    (yolo.root / "train.txt").write_text(
        "./images/train/good.png\n./images/train/gone.png\nimages/elsewhere.png\n"
    )
    report = check_data(str(yolo.write()))
    assert [(f.kind, f.count) for f in report.found] == [("missing", 2)]
    assert report.splits[0].images_kept == len(stock(copied(yolo, tmp_path / "copy"), "train")) == 1


@current
@pytest.mark.parametrize(
    ("shape", "row"),
    [("[2, 3]", "0 .5 .5 .2 .2 .4 .4 2 .6 .6 1"), ("[2, 2]", "0 .5 .5 .2 .2 .4 .4 .6 .6")],
)
def test_keypoints_are_checked_for_pose_and_dropped_for_detect(
    yolo: YoloFolder, tmp_path: Path, shape: str, row: str
) -> None:
    yolo.yaml_text += f"kpt_shape: {shape}\n"
    for split in ("train", "val"):
        yolo.add(f"{split}/good.png", row)
    yolo.add("train/long.png", f"{row} 1")
    yolo.add("train/out.png", row.replace(" .4", " 1.4"))
    yolo.write()
    report = check_data(str(yolo.yaml))
    assert report.task == "pose"
    assert {f.kind for f in report.found} == {"columns", "above"}
    for task in ("pose", "detect"):
        kept = stock(copied(yolo, tmp_path / task), "train", task)
        train = check_data(str(yolo.yaml), task).splits[0]
        assert (train.images_kept, train.labels_kept) == (len(kept), sum(kept.values())), task


@current
def test_what_ultralytics_refuses_as_a_whole_is_said(yolo: YoloFolder, tmp_path: Path) -> None:
    outline = YoloFolder(tmp_path / "outline")
    outline.add("train/outline.png", "0 .1 .1 .2 .2 .3 .1\n")
    assert "boxes" in {f.kind for f in check_data(str(outline.write()), "segment").found}
    with pytest.raises(ValueError, match="equal numbers of boxes and segments"):
        stock(copied(outline, tmp_path / "copy"), "train", "segment")
    assert not check_data(str(outline.yaml)).damaged

    (yolo.root / "labels" / "train" / "good.txt").unlink()
    report = check_data(str(yolo.write()))
    assert [f.kind for f in report.found] == ["unlabelled"]
    yolo.add("train/good.png", None, content=b"")
    assert [f.kind for f in check_data(str(yolo.yaml)).found] == ["damaged", "empty"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train: x\n", "'val:' key missing"),
        (
            "path: .\ntrain: images/none\nval: images/val\nnames: [a]\n",
            "train set is at .*images/none, which does not",
        ),
        ("path: .\ntrain: labels\nval: images/val\nnames: [a]\n", "contains no image"),
        ("path: .\ntrain: images/train\nval: images/val\n", "'names' or 'nc'"),
        ("path: .\ntrain: 5\nval: images/val\nnames: [a]\n", "train' must be|is not iterable"),
        ("[1, 2", "cannot use the data YAML"),
        ("", "cannot use the data YAML"),
        (
            "path: .\ntrain: images/train\nval: images/val\nnames: [a]\nkpt_shape: [0, 3]\n",
            "pose needs 'kpt_shape",
        ),
        (
            "path: .\ntrain: images/train\nval: images/val\nnames: [a]\nkpt_shape: [a]\n",
            "pose needs 'kpt_shape",
        ),
    ],
)
def test_a_broken_data_yaml_is_one_sentence(yolo: YoloFolder, text: str, expected: str) -> None:
    yolo.yaml_text = text
    with pytest.raises(DataError, match=expected) as caught:
        check_data(str(yolo.write()))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], "'data check' takes one dataset"),
        (["a", "b"], "'data check' takes one dataset"),
        (["shapes", "task=pse"], "Did you mean 'pose'?"),
        (["shapes", "tsk=pose"], "Did you mean 'task'?"),
        (["shapes", "classify"], "trains detect and segment, not classify"),
        (["figures", "imgsz=big"], "Invalid value imgsz=big: expected a size in pixels"),
        (["figures", "out=page.pdf"], "expected a name that ends in .html"),
        (["shapes", "task=pose"], "trains detect and segment, not pose"),
        (["nowhere.yaml"], "There is no dataset 'nowhere.yaml'"),
    ],
)
def test_mistakes_are_one_sentence(
    capsys: pytest.CaptureFixture[str], args: list[str], expected: str
) -> None:
    assert main(["data", "check", *args]) == 2
    out, err = capsys.readouterr()
    assert expected in err
    assert (out, err.count("\n")) == ("", 1)


@pytest.mark.parametrize("data", ["https://x.org/a.zip", "a.zip", "set.ndjson"])
def test_what_lies_elsewhere_is_not_fetched(data: str) -> None:
    with pytest.raises(DataError, match="download and unpack"):
        check_data(data)


def test_an_embedded_set_is_healthy_and_writes_nothing_of_the_users() -> None:
    report = check_data("figures")
    assert (report.task, report.damaged, report.writes) == ("pose", False, ())
    assert all(s.images == s.images_kept for s in report.splits)


@pytest.mark.coco_mini
@pytest.mark.parametrize("task", ["detect", "pose"])
def test_coco_mini_is_healthy(coco_mini: Path, task: str) -> None:
    report = check_data(coco_mini, task)
    assert report.writes == ()
    assert report.found == ()
    assert report.imported is not None
    assert not report.damaged


@pytest.fixture
def spoiled_coco(tmp_path: Path) -> Path:
    """Return a COCO folder with damage that the import skips, repairs, doubts or cannot detect."""
    root = tmp_path / "coco"
    names = ["good.png", "gone.png", "text.jpg", "cut.jpg", "early.jpg", "scaled.png"]
    for split in ("train2017", "val2017"):
        (root / split).mkdir(parents=True)
        for name in names[:1] if split == "val2017" else [n for n in names if n != "gone.png"]:
            (root / split / name).write_bytes(picture(Path(name).suffix))
        listed = names if split == "train2017" else names[:1]
        images = [
            {"id": i, "file_name": n, "width": 40, "height": 20} for i, n in enumerate(listed)
        ]
        boxes = [
            {"id": i, "image_id": i, "category_id": 3, "bbox": [1, 1, 9, 9]}
            for i in range(len(listed))
        ]
        if split == "train2017":
            images[5] |= {"width": 90}
            boxes += [
                boxes[0] | {"id": 90, "iscrowd": 1},
                boxes[0] | {"id": 91, "bbox": [1, 1, 0, 9]},
            ]
        content = {"images": images, "annotations": boxes, "categories": [{"id": 3, "name": "cat"}]}
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    (root / "train2017" / "text.jpg").write_text("no picture")
    (root / "train2017" / "cut.jpg").write_bytes(picture(".jpg")[:-200])
    (root / "train2017" / "early.jpg").write_bytes(picture(".jpg") + b"more")
    return root


def test_a_coco_folder_is_checked_through_its_import(
    spoiled_coco: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(spoiled_coco)
    assert main(["data", "check", str(spoiled_coco)]) == 3
    assert content(spoiled_coco) == before
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 80 and str(spoiled_coco) not in line] == []
    for line in (
        "  1 crowd (COCO's rule, not damage)",
        "  1 box without area",
        "    annotation 91 of image 0",
        "  1 file missing",
        "    gone.png",
        "  1 file damaged",
        "    text.jpg",
        "  1 size in the JSON is not the file's",
        "    scaled.png: JSON 90x20, file 40x20",
        "  train: 1 image that cannot be read",
    ):
        assert line in lines
    assert not any("FFD9" in line or "Written" in line for line in lines)


WRITING = {
    "open",
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.rmdir",
    "os.utime",
}
watched: dict[str, list[str]] = {}
"""Folder under watch, and what was opened for writing or changed below it, even for a moment."""


def _watch(event: str, args: tuple[object, ...]) -> None:
    if not watched or event not in WRITING:
        return
    if event == "open" and not (
        isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    ):
        return
    for root, seen in watched.items():
        places = (
            args[1:2] if event in {"os.link", "os.symlink"} else args[:2]
        )  # a link to the folder is no write
        seen += [f"{event} {place}" for place in places if str(place).startswith(root)]


@pytest.fixture
def watch() -> Iterator[Callable[[Path], list[str]]]:
    """Watch a folder for writes, because root may write to a read-only folder."""
    sys.addaudithook(_watch)

    def start(folder: Path) -> list[str]:
        return watched.setdefault(str(folder), [])

    yield start
    watched.clear()


def test_nothing_is_written_below_the_users_folder_even_for_a_moment(
    spoiled: YoloFolder, spoiled_coco: Path, watch: Callable[[Path], list[str]]
) -> None:
    spoiled.write()
    seen = [watch(spoiled.root), watch(spoiled_coco)]
    check_data(str(spoiled.yaml))
    check_data(str(spoiled_coco))
    resolve_data(spoiled.yaml, "detect")
    assert seen == [[], []]
    (spoiled_coco / "probe").write_text("the watch works")
    assert seen[1]


# --- any file at all ------------------------------------------------------------------------------

WORDS = st.one_of(
    st.sampled_from(
        [
            "0",
            "1",
            "2",
            "-0",
            ".5",
            "1.01",
            "1.0100001",
            "1.02",
            "-.01",
            "-.011",
            "nan",
            "inf",
            "-inf",
        ]
    ),
    st.sampled_from(["1e50", "1_0", "0x1", "٣", "x", "1e-50", "0.3"]),
    st.floats(0, 1).map(repr),
)
ROWS = st.one_of(
    st.lists(WORDS, max_size=12),
    st.lists(
        st.sampled_from(["0", "1", ".5", ".25", "1.005", "-.005", "0"]), min_size=5, max_size=5
    ),
    st.lists(st.sampled_from(["0", "1", ".5", ".25"]), min_size=7, max_size=7),
    st.lists(st.sampled_from(["0", "1", ".5", ".25"]), min_size=9, max_size=9),
)
TEXTS = st.one_of(
    st.text(max_size=60).map(lambda s: s.encode("utf-8", "surrogatepass")),
    st.binary(max_size=60),
    st.lists(ROWS, max_size=5).map(lambda rows: "\n".join(" ".join(row) for row in rows).encode()),
)
LAYOUTS = [
    Layout(classes=2),
    Layout(classes=2, keypoints=1, dimensions=2, pose=True),
    Layout(classes=2, keypoints=2, dimensions=2),
    Layout(classes=2, keypoints=1, dimensions=3, pose=True),
]


@pytest.fixture(scope="module")
def one_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("one") / "a.png"
    path.write_bytes(picture())
    return path


NEAR = [
    b"0 .5 -.005 .2 .2",
    b"0 .5 -.01 .2 .2",
    b"0 .5 -.0101 .2 .2",
    b"0 .5 .5 -.005 .2",
    b"-.005 .5 .5 .2 .2",
]
NEAR += [
    b"0 1.005 .5 .2 .2",
    b"0 1.01 .5 .2 .2",
    b"0 1.011 .5 .2 .2",
    b"1.005 .5 .5 .2 .2",
    b"2 .5 .5 .2 .2",
    b"0 .5",
]
NEAR += [
    b"0 1e50 .5 .2 .2",
    b"1e50 .5 .5 .2 .2",
    b"0 .5 .5 .2 .2 .3",
    b"0 .5 .5 .2 .2 .3 .4\n1 .5 .5",
    b"0\x1f.5 .5 .2 .2",
]
NEAR += [
    b"0 .1 .1 .5 .5 .1 .5\n0 .1 .1 .5 .5 .5 .1",
    b"0 .1 .1 .5 .5 .1 .5\n0 .1 .1 .5 .5 .1 .5",
    b"0 .5 .5 .2 .2\n-0 .5 .5 .2 .2",
]


@current
@pytest.mark.parametrize("layout", [0, 1, 2, 3])
@pytest.mark.parametrize("text", NEAR, ids=range(len(NEAR)))
def test_rows_at_the_limits_are_judged_as_ultralytics_judges_them(
    one_image: Path, text: bytes, layout: int
) -> None:
    compare(one_image, text, LAYOUTS[layout])
    compare(one_image, text + b" .5 .5", LAYOUTS[layout])


@current
@settings(max_examples=400)
@given(text=TEXTS, layout=st.sampled_from(LAYOUTS))
def test_every_label_file_is_judged_as_ultralytics_judges_it(
    one_image: Path, text: bytes, layout: Layout
) -> None:
    compare(one_image, text, layout)


def compare(image: Path, text: bytes, layout: Layout) -> None:
    """Compare the verdict with that of Ultralytics."""
    from ultralytics.data.utils import verify_image_label

    label = image.with_suffix(".txt")
    label.write_bytes(text)
    shape = (layout.keypoints, layout.dimensions)
    with np.errstate(all="ignore"):
        result = verify_image_label(
            (str(image), str(label), "", layout.pose, layout.classes, *shape, False)
        )
    try:
        decoded = io.TextIOWrapper(io.BytesIO(text), encoding="utf-8-sig").read()
    except UnicodeDecodeError:
        assert result[0] is None
        return
    verdict = classify_labels(decoded, layout)
    assert (verdict.fault is not None) == (result[0] is None), result[-1]
    if result[0] is not None:
        assert verdict.rows - len(verdict.duplicates) == len(result[1])
        assert len(verdict.flat) == sum(box.min() <= 0 for box in result[1][:, 3:])
        assert verdict.outlined == bool(result[3])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=TEXTS,
    image=st.one_of(st.just(picture()), st.binary(max_size=40), st.just(b"\xff\xd8\xff\xe0cut")),
)
def test_no_label_or_image_makes_the_check_raise(
    tmp_path_factory: pytest.TempPathFactory, text: bytes, image: bytes
) -> None:
    yolo = YoloFolder(tmp_path_factory.mktemp("any") / "set")
    yolo.add("train/a.jpg", text, content=image)
    before = content(yolo.root)
    yolo.write()
    report = check_data(str(yolo.yaml))
    assert "other" not in {f.kind for f in report.found}
    assert "".join(report.lines())
    json.dumps(report.to_json())
    assert {k: v for k, v in content(yolo.root).items() if k != "data.yaml"} == before


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.one_of(
        st.text(max_size=80),
        st.from_regex(r"(train|val|path|names|nc|kpt_shape): [\[\]{}a0-9., -]{0,9}\n"),
    )
)
def test_no_data_yaml_raises_anything_but_our_own_errors(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("yaml") / "data.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        check_data(str(path))
    except StabilityError:
        return


def test_images_and_cache_are_those_of_ultralytics(spoiled: YoloFolder) -> None:
    from ultralytics.data.base import BaseDataset
    from ultralytics.data.utils import img2label_paths

    spoiled.write()
    places: list[Callable[[], str]] = [
        lambda: str(spoiled.root / "images" / "train"),
        lambda: str(spoiled.root / "l.txt"),
    ]
    (spoiled.root / "l.txt").write_text("./images/train/good.png\n/x/images/images/y.JPG\nno\n")
    for place in (p() for p in places):
        loader = object.__new__(BaseDataset)
        loader.prefix, loader.fraction = "", 1.0
        theirs = loader.get_img_files(place)
        assert images_of(place, "train") == theirs
        assert [label_file(image) for image in theirs] == img2label_paths(theirs)
        assert cache_file(theirs) == Path(img2label_paths(theirs)[0]).parent.with_suffix(".cache")


@current
def test_a_turned_picture_is_measured_as_ultralytics_reads_it(tmp_path: Path) -> None:
    from ultralytics.data.utils import check_image

    from yolo_stability.data.coco.image_size import read_image_size

    for suffix in ("jpg", "png"):
        for orientation in (1, 3, 6, 8):
            path = tmp_path / f"{orientation}.{suffix}"
            exif = Image.Exif()
            exif[274] = orientation
            Image.open(io.BytesIO(picture())).save(path, exif=exif)
            found = read_image_size(path)
            assert found is not None
            assert found.upright == tuple(check_image(str(path))[1][::-1])
            assert found.turned == (orientation > 4)


@settings(max_examples=150)
@given(
    text=st.one_of(
        st.text(max_size=20),
        st.sampled_from(["~nobody/x", "x" * 5000, "a\0b", "*.yaml", "[", "/proc/self/mem"]),
    )
)
def test_no_name_of_a_dataset_raises_anything_but_our_own_errors(text: str) -> None:
    try:
        check_data(text)
    except StabilityError as err:
        message = str(err)
    assert message
