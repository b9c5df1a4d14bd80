"""Atomic file writes: a file is written whole or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

__all__ = ["move_onto", "replace_file"]

# Windows refuses to replace or remove a file while another program, such as a virus scanner, has
# it open.
_TRIES = 40 if os.name == "nt" else 1
_PAUSE = 0.05


def replace_file(
    path: Path,
    content: bytes | Sequence[bytes],
    *,
    sync: bool = False,
    make_folder: bool = True,
) -> None:
    """Write a file atomically: a reader sees the old or the new content, even after a kill.

    Args:
        path: File to create or replace.
        content: New content, in one piece or as consecutive chunks.
        sync: Flush the bytes to disk before the file is renamed into place.
        make_folder: Create the parent folder if it is missing, instead of raising.

    Raises:
        OSError: The disk is full or the folder is not writable; the old content is kept.
    """
    if make_folder:
        path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temp.open("wb") as file:
            for chunk in [content] if isinstance(content, bytes) else content:
                file.write(chunk)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        move_onto(temp, path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise


def move_onto(source: Path, target: Path) -> None:
    """Rename a file onto another one; on Windows retries while the target is open elsewhere.

    Raises:
        OSError: The rename failed; both files stay as they are.
    """
    for _ in range(_TRIES - 1):
        try:
            source.replace(target)
            return
        except PermissionError:
            time.sleep(_PAUSE)
    source.replace(target)
