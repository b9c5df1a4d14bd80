"""File names of a trace and the folder layout that holds them."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = [
    "EPOCHS",
    "EVENTS",
    "FOLDER",
    "HEADER",
    "PARTS",
    "SCHEMA_VERSION",
    "Part",
    "TableName",
    "list_parts",
    "part_path",
    "remove_stale_temps",
    "without_overlaps",
]

SCHEMA_VERSION = 2
FOLDER = "stability"
HEADER = "header.json"
EVENTS = "events.jsonl"
EPOCHS = "epochs.jsonl"
PARTS = "trace"

TableName = Literal["steps", "blocks"]

_PART = re.compile(r"(steps|blocks)-(\d{1,10})-(\d{1,10})\.parquet")
_TEMP = re.compile(r"\..+\.tmp")
_STALE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Part:
    """One Parquet file: the rows of steps `first` to `last`, both included."""

    path: Path
    first: int
    last: int

    @property
    def span(self) -> int:
        """Number of steps according to the file name."""
        return self.last - self.first + 1


def part_path(folder: Path, table: TableName, first: int, last: int) -> Path:
    """Return the path of the part of `table` with steps `first` to `last` in `stability/`."""
    return folder / PARTS / f"{table}-{first:07d}-{last:07d}.parquet"


def list_parts(folder: Path, table: TableName) -> list[Part]:
    """List the finished parts of a table, ordered by their first step.

    Args:
        folder: The `stability/` folder; it may be missing.
        table: `steps` or `blocks`.

    Returns:
        All parts by name, including those that a merged part covers; other files are ignored.
    """
    parts = []
    try:
        names = os.listdir(folder / PARTS)  # noqa: PTH208 - avoids a Path object per file
    except (FileNotFoundError, NotADirectoryError):
        return []
    for name in names:
        match = _PART.fullmatch(name)
        if match and match[1] == table and int(match[2]) <= int(match[3]):
            parts.append(Part(folder / PARTS / name, int(match[2]), int(match[3])))
    return sorted(parts, key=_widest_first)


def without_overlaps(parts: Iterable[Part]) -> list[Part]:
    """Drop parts whose steps another part covers: leftovers of an interrupted merge."""
    kept: list[Part] = []
    for part in sorted(parts, key=_widest_first):
        if not kept or part.last > kept[-1].last:
            kept.append(part)
    return kept


def remove_stale_temps(folder: Path) -> None:
    """Remove temporary files of a killed run; a recent one may belong to a live writer."""
    for directory in (folder, folder / PARTS):
        if not directory.is_dir():
            continue
        for file in directory.iterdir():
            with contextlib.suppress(FileNotFoundError):  # a live writer has just finished
                if (
                    _TEMP.fullmatch(file.name)
                    and time.time() - file.stat().st_mtime > _STALE_SECONDS
                ):
                    file.unlink()


def _widest_first(part: Part) -> tuple[int, int]:
    return part.first, -part.last
