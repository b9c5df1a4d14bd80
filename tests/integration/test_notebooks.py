"""The notebooks, run again: they show what is stored in them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((REPO / "notebooks").glob("*.ipynb"))

pytestmark = [pytest.mark.trains, pytest.mark.full]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_what_is_stored_in_it(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(REPO / "docs" / "notebooks.py"), "--check", path.name],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPO)},
        check=False,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
