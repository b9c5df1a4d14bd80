"""`compare`: names of the compared runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from yolo_stability.benchmarks.compare import compare_runs
from yolo_stability.core.errors import ConfigError


def plain(folder: Path) -> Path:
    """Write the files of an Ultralytics run."""
    folder.mkdir(parents=True)
    (folder / "args.yaml").write_text("task: detect\n")
    (folder / "results.csv").write_text("epoch\n1\n")
    return folder


def test_paths_that_differ_far_up_are_told_apart(tmp_path: Path) -> None:
    below = Path(*(f"level-{n}" for n in range(14)))
    runs = [plain(tmp_path / name / below) for name in ("here", "there")]
    found = compare_runs(runs, tmp_path / "out")
    assert [run.arm for run in found.runs] == [
        f"{name}/{below.as_posix()}" for name in ("here", "there")
    ]


def test_the_run_that_is_there_twice_is_named(tmp_path: Path) -> None:
    first, second = plain(tmp_path / "a"), plain(tmp_path / "b")
    with pytest.raises(ConfigError, match=re.escape(f"'{second}' is listed twice")):
        compare_runs([first, second, second], tmp_path / "out")
