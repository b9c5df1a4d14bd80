"""A file is written whole or not at all, even while another process has the old one open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from yolo_stability.core import files
from yolo_stability.core.files import move_onto, replace_file


def hold_open(monkeypatch: pytest.MonkeyPatch, times: int) -> list[Path]:
    """Refuse to replace files several times, as Windows does; return the refused files."""
    refused: list[Path] = []
    replace = Path.replace

    def try_to(source: Path, target: Path) -> Path:
        if len(refused) < times:
            refused.append(target)
            raise PermissionError(13, "Access is denied", str(target))
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", try_to)
    monkeypatch.setattr(files, "_PAUSE", 0.0)
    return refused


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    return path


@pytest.mark.parametrize("times", [0, 1, 4])
def test_on_windows_it_waits_for_a_reader(
    times: int, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_TRIES", 5)
    refused = hold_open(monkeypatch, times)
    replace_file(file, b"new")
    assert len(refused) == times
    assert file.read_bytes() == b"new"
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(("tries", "times"), [(5, 5), (1, 1)])  # as on Windows, and elsewhere
def test_not_for_ever_and_elsewhere_not_at_all(
    tries: int, times: int, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_TRIES", tries)
    refused = hold_open(monkeypatch, times)
    with pytest.raises(PermissionError):
        replace_file(file, b"new")
    assert len(refused) == times
    assert file.read_bytes() == b"old"
    assert list(file.parent.iterdir()) == [file]


def test_a_file_takes_the_name_of_another(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(b"new")
    move_onto(other, file)
    assert file.read_bytes() == b"new"
    assert list(file.parent.iterdir()) == [file]


def test_no_waiting_on_this_system() -> None:
    assert (files._TRIES > 1) is (os.name == "nt")
