"""The cache folder: where imported and drawn sets live, complete or not at all."""

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
"""A work folder this old belongs to an import that was killed."""


def cache_root() -> Path:
    """Return the folder for imported and drawn sets, absolute; it need not exist yet.

    `YOLO_STABILITY_CACHE` names it, else the user's cache folder of the platform.
    """
    if named := os.environ.get(ENV):
        return Path(named).expanduser().resolve()
    from platformdirs import user_cache_path

    return user_cache_path("yolo_stability")


def publish(target: Path, build: Callable[[Path], None], intact: Callable[[Path], bool]) -> None:
    """Build a folder aside and move it to its place in one step.

    A killed build leaves nothing at `target`, and of two processes that build the same one, the first wins.

    Args:
        target: Final folder; its name has to stand for its content.
        build: Fills the empty, existing folder it is given.
        intact: Tells whether what lies at `target` in the end is complete; if not, it gives way.

    Raises:
        DataError: If the cache cannot be written.
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
            # else another process was first; the name stands for the content
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
    """Remove work folders that killed processes left."""
    for path in folder.glob(".work-*"):
        try:
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(path, ignore_errors=True)
        except FileNotFoundError:  # its owner was quicker
            continue
