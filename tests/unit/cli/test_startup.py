"""Starting is fast and light: no torch, no Ultralytics, before a run needs them."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

HEAVY = "{'torch', 'ultralytics', 'polars', 'matplotlib', 'cv2'} & set(sys.modules)"


def python(code: str) -> str:
    """Run code in a fresh interpreter and return what it prints."""
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout


def seconds(*command: str) -> float:
    """Return the best of five wall times of a command: a shared machine makes the others longer."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return min(times)


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert python(f"import sys, yolo_stability; print({HEAVY})") == "set()\n"


@pytest.mark.parametrize(
    "line", [["--help"], ["help", "train"], ["version"], ["list"], ["trian"], ["tune"]]
)
def test_answers_without_a_run_load_nothing_heavy(line: list[str]) -> None:
    code = f"import sys; from yolo_stability.cli.main import main; main({line!r}); print({HEAVY})"
    assert python(code).splitlines()[-1] == "set()"


def test_import_and_help_are_fast() -> None:
    bare = seconds(sys.executable, "-c", "pass")
    assert seconds(sys.executable, "-c", "import yolo_stability") - bare < 0.2
    assert seconds(sys.executable, "-m", "yolo_stability", "--help") < 0.5
