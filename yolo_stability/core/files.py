"""Writes files whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

__all__ = ["replace_file"]


def replace_file(path: Path, content: bytes | Sequence[bytes], *, sync: bool = False) -> None:
    """Write a file so that a reader, or a kill at any moment, sees the old content or the new, never a mixture.

    Args:
        path: File to create or replace; its folder is created.
        content: What it shall hold.
        sync: Whether the bytes must be on the disk, not just handed to it, before the name points to them.

    Raises:
        OSError: The disk is full, or the folder cannot be written; the old content stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temp.open("wb") as file:
            for chunk in [content] if isinstance(content, bytes) else content:
                file.write(chunk)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        temp.replace(path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
