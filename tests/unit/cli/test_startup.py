"""Starting is fast and light: no torch, no Ultralytics, before a run needs them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[3]
HEAVY = "{'torch', 'ultralytics', 'polars', 'matplotlib', 'cv2'} & set(sys.modules)"


def python(code: str) -> str:
    """Run code in a fresh interpreter and return what it prints."""
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout


def seconds(*command: str) -> float:
    """Return the least CPU time of three runs of a command: wall time is that of the other
    processes, too."""
    times = []
    for _ in range(3):
        before = os.times()
        subprocess.run(command, check=True, capture_output=True)
        after = os.times()
        times.append(sum(after[2:4]) - sum(before[2:4]))
    return min(times)


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert python(f"import sys, yolo_stability; print({HEAVY})") == "set()\n"


@pytest.mark.parametrize(
    "line", [["--help"], ["help", "train"], ["version"], ["list"], ["explain"], ["trian"], ["tune"]]
)
def test_answers_without_a_run_load_nothing_heavy(line: list[str]) -> None:
    code = f"import sys; from yolo_stability.cli.main import main; main({line!r}); print({HEAVY})"
    assert python(code).splitlines()[-1] == "set()"


def test_import_and_help_are_fast() -> None:
    bare = seconds(sys.executable, "-c", "pass")
    assert seconds(sys.executable, "-c", "import yolo_stability") - bare < 0.2
    assert seconds(sys.executable, "-m", "yolo_stability", "--help") < 0.5


def test_where_ultralytics_writes_its_first_settings_stdout_is_still_json(tmp_path: Path) -> None:
    shutil.copytree(REPO / "tests" / "golden" / "detect-26n", tmp_path / "run")
    done = subprocess.run(
        [sys.executable, "-m", "yolo_stability", "diagnose", str(tmp_path / "run"), "--json"],
        env={**os.environ, "YOLO_CONFIG_DIR": str(tmp_path / "config")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert json.loads(done.stdout)["verdict"]
    assert "Creating new Ultralytics Settings" in done.stderr
