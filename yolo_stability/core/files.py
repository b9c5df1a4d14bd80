"""The atomic writer: a file is written whole or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

__all__ = ["move_onto", "replace_file"]

# Windows refuses to replace or remove a file while another program, a virus scanner for one, has it open.
_TRIES = 40 if os.name == "nt" else 1
_PAUSE = 0.05


def replace_file(
    path: Path,
    content: bytes | Sequence[bytes],
    *,
    sync: bool = False,
    make_folder: bool = True,
) -> None:
    """Write a file so that a reader, or a kill at any moment, sees the old or the new content whole.

    Args:
        path: File to create or replace.
        content: The new content, in one piece or in several that follow each other.
        sync: Flush the bytes to the disk before the name points to them.
        make_folder: Create the folder where it is missing, instead of raising.

    Raises:
        OSError: The disk is full, or the folder cannot be written; the old content stays.
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
    """Give a file the name of another one, which it replaces; on Windows waits for whoever has that one open.

    Raises:
        OSError: It cannot be; both files stay as they are.
    """
    for _ in range(_TRIES - 1):
        try:
            source.replace(target)
            return
        except PermissionError:
            time.sleep(_PAUSE)
    source.replace(target)
