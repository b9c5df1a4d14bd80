"""Untrusted datasets: no access outside their folder, and no script in them is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from yolo_stability.cli.main import main

CATEGORY = {"id": 1, "name": "cat"}
EVIL = "\x1b]0;owned\x07cat\u202e\n!!python/object/apply:os.system ['true']"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder in COCO's layout, beside a picture that it must not reach."""
    monkeypatch.setenv("YOLO_STABILITY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for place in (
        tmp_path / "set" / "train2017",
        tmp_path / "set" / "val2017",
        tmp_path / "secret",
    ):
        place.mkdir(parents=True)
        cv2.imwrite(str(place / "a.png"), np.full((20, 40, 3), 90, np.uint8))
    (tmp_path / "set" / "annotations").mkdir()
    return tmp_path / "set"


def describe(root: Path, name: str, category: dict[str, Any], **more: Any) -> None:
    """Write the annotations: one image by a name, one box."""
    content = {
        "images": [{"id": 7, "file_name": name, "width": 40, "height": 20}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 1, "bbox": [4, 2, 20, 10], "iscrowd": 0}
        ],
        "categories": [category],
        **more,
    }
    for split in ("train2017", "val2017"):
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    "name",
    [
        "../../secret/a.png",
        "/etc/hostname",
        "C:\\a.png",
        "..\\..\\secret\\a.png",
        "a/../../a.png",
        "a\x1b[2J.png",
        "\0",
    ],
)
def test_no_name_leaves_the_folder(
    name: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    describe(root, name, CATEGORY)
    for words in (["data", "coco", str(root)], ["data", "check", str(root)]):
        assert main(words) == 2
        captured = capsys.readouterr()
        assert "\x1b" not in captured.out + captured.err
        assert "lists the image" in captured.err
    assert not list(root.parent.rglob("cache/**/*.txt"))


@pytest.mark.parametrize("whole", [False, True])
def test_no_link_leads_out_of_the_folder(
    whole: bool, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "train2017" / "a.png").unlink()
    if whole:
        (root / "train2017").rmdir()
        (root / "train2017").symlink_to(root.parent / "secret")
    else:
        (root / "train2017" / "a.png").symlink_to(root.parent / "secret" / "a.png")
    describe(root, "a.png", CATEGORY)
    code, captured = main(["data", "coco", str(root)]), capsys.readouterr()
    if whole:  # the folder itself was given, and its splits may lie on another disk
        assert code in {0, 2}
    else:
        assert code == 2
        assert "is a link out of" in captured.err


def test_names_of_classes_are_text_for_yaml_and_terminal(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    describe(root, "a.png", {"id": 1, "name": EVIL, "keypoints": ["nose\x1b[2J"]})
    assert main(["data", "coco", str(root), "--json"]) == 0
    config = Path(json.loads(capsys.readouterr().out)["data"])
    text = config.read_text(encoding="utf-8")
    assert not set(text) & set("\x1b\x07\u202e")
    assert yaml.safe_load(text)["names"] == {
        0: f"{EVIL}".encode("unicode_escape").decode().replace("\\n", " ")
    }


@pytest.mark.parametrize(
    "content", ["[" * 1_000_000, '{"images": ' * 100_000, '{"images": [' + "9" * 5_000_000 + "]}"]
)
def test_no_document_is_endless(
    content: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    describe(root, "a.png", CATEGORY)
    (root / "annotations" / "instances_train2017.json").write_text(content)
    assert main(["data", "coco", str(root)]) == 2
    captured = capsys.readouterr().err
    assert "Traceback" not in captured
    assert len(captured) < 1000


@pytest.mark.parametrize(
    "script", ["open('bang', 'w')", "bash touch bang", "https://example.invalid/x.zip"]
)
def test_a_check_runs_no_script_of_a_dataset(
    script: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = root.parent / "data.yaml"
    content = {
        "path": str(root / "gone"),
        "train": "train",
        "val": "val",
        "names": ["cat"],
        "download": script,
    }
    config.write_text(yaml.safe_dump(content))
    assert main(["data", "check", str(config)]) == 2
    assert "yolo-stability: " in capsys.readouterr().err
    assert not (root.parent / "bang").exists()


def test_a_yaml_of_python_objects_is_no_dataset(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = root.parent / "data.yaml"
    config.write_text(
        "train: !!python/object/apply:pathlib.Path.touch [bang]\nval: x\nnames: [cat]\n"
    )
    assert main(["data", "check", str(config)]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not (root.parent / "bang").exists()
