"""The cache folder of imported and drawn sets, each of which is complete or absent."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from yolo_stability.core.errors import DataError

__all__ = ["cache_root", "publish"]

ENV = "YOLO_STABILITY_CACHE"
STALE_SECONDS = 24 * 3600
"""Age in seconds from which a work folder counts as left by a killed import."""


def cache_root() -> Path:
    """Return the absolute path of the cache folder, which need not exist yet.

    It is `YOLO_STABILITY_CACHE` if set, else the user's cache folder on this platform.
    """
    if named := os.environ.get(ENV):
        return Path(named).expanduser().resolve()
    from platformdirs import user_cache_path

    return user_cache_path("yolo_stability")


def publish(target: Path, build: Callable[[Path], None], intact: Callable[[Path], bool]) -> None:
    """Build a folder in a temporary place and move it to its target in one step.

    A killed build leaves nothing at `target`; of two processes that build it, the first wins.

    Args:
        target: Final folder; its name must identify its content.
        build: Fills the empty, existing folder that it receives.
        intact: Returns whether an existing `target` is complete; if not, it is replaced.

    Raises:
        DataError: The cache cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        work = Path(tempfile.mkdtemp(prefix=".work-", dir=target.parent))
    except OSError as err:
        raise _unwritable(target.parent, err) from err
    try:
        fresh = work / target.name
        fresh.mkdir()
        build(fresh)
        if target.exists() and not intact(target):
            target.rename(work / "damaged")
        try:
            fresh.rename(target)
        except OSError:
            # otherwise another process was first, with the same content
            if not target.is_dir():
                raise
    except OSError as err:
        raise _unwritable(target.parent, err) from err
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _unwritable(folder: Path, err: OSError) -> DataError:
    return DataError(
        f"Cannot write the cache in {folder}: {err}. Set {ENV} to a folder you can write to."
    )


def _sweep(folder: Path) -> None:
    """Remove work folders that killed processes left behind."""
    for path in folder.glob(".work-*"):
        try:
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(path, ignore_errors=True)
        except FileNotFoundError:  # already removed by its owner
            continue
