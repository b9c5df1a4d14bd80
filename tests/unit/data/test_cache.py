"""The cache: complete or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from yolo_stability.data.cache import cache_root, publish


def test_the_environment_names_the_root(tmp_path, monkeypatch):
    monkeypatch.setenv("YOLO_STABILITY_CACHE", str(tmp_path / "x"))
    assert cache_root() == tmp_path / "x"
    monkeypatch.delenv("YOLO_STABILITY_CACHE")
    assert cache_root().is_absolute()


def test_a_build_that_dies_leaves_nothing(tmp_path):
    def build(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        publish(tmp_path / "set", build, Path.is_dir)
    assert list(tmp_path.iterdir()) == []


def test_the_first_of_two_builders_wins(tmp_path):
    def build(folder: Path) -> None:
        (folder / "who").write_text("late")
        if not (tmp_path / "set").exists():
            publish(
                tmp_path / "set", lambda f: (f / "who").write_text("early") and None, Path.is_dir
            )

    publish(tmp_path / "set", build, Path.is_dir)
    assert (tmp_path / "set" / "who").read_text() == "early"
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_leftovers_of_killed_builds_are_swept(tmp_path):
    old, young = tmp_path / ".work-old", tmp_path / ".work-young"
    old.mkdir()
    young.mkdir()
    os.utime(old, (0, 0))
    publish(tmp_path / "set", lambda folder: None, Path.is_dir)
    assert {p.name for p in tmp_path.iterdir()} == {"set", ".work-young"}


def test_a_damaged_folder_gives_way(tmp_path):
    (tmp_path / "set").mkdir()
    publish(tmp_path / "set", lambda f: (f / "whole").touch(), lambda f: (f / "whole").exists())
    assert [p.name for p in tmp_path.rglob("*")] == ["set", "whole"]
