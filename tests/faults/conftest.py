"""Children that train, small disks, and where the helpers lie."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

if TYPE_CHECKING:
    from inside import Inside


@pytest.fixture
def small_disk() -> Iterator[Callable[[Path, str], None]]:
    """Give a function that mounts a tmpfs of a size at a folder; skip where that is not allowed."""
    mounted: list[Path] = []

    def mount(folder: Path, size: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            done = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError as error:
            pytest.skip(f"no mount here: {error}")
        if done.returncode:
            pytest.skip(f"mounting a tmpfs is not allowed here: {done.stderr.strip()}")
        mounted.append(folder)

    yield mount
    for folder in reversed(mounted):
        subprocess.run(["umount", "-l", str(folder)], check=False)


@pytest.fixture
def inside(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    log: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Inside]:
    """Give what trains in this process; what it was told to keep is printed in the end."""
    from inside import Inside

    monkeypatch.chdir(tmp_path)
    trains = Inside(tmp_path, capfd, log)
    yield trains
    print("\n".join(trains.told))
