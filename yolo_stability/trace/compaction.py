"""Compaction of small trace parts, with near-linear total work and constant memory.

The log of a table consists of sealed chunks of about 16k steps, never rewritten, and a short tail.
A merge takes the longest suffix of the tail in which no part is more than twice as long as all
parts after it: each row is rewritten a logarithmic number of times, and at most one chunk is in
memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from yolo_stability.core.files import replace_file
from yolo_stability.core.types import StepRecord
from yolo_stability.trace import schema
from yolo_stability.trace.layout import (
    SCHEMA_VERSION,
    Part,
    TableName,
    list_parts,
    part_path,
    without_overlaps,
)

__all__ = ["SEALED_STEPS", "Compactor", "merge_from"]

SEALED_STEPS = 16_384
_RATIO = 2
_CROWDED = 16


class Compactor:
    """Parts of one table, appended to by a single writer.

    Args:
        folder: The `stability/` folder.
        table: Table that the parts belong to.
        names: Block names in the order of the header.

    Attributes:
        version: Version of the trace.
        last: Last step on disk; -1 without any.
    """

    def __init__(self, folder: Path, table: TableName, names: Sequence[str]) -> None:
        self._folder = folder
        self.version = SCHEMA_VERSION
        self._table: TableName = table
        self._names = names
        self._tail: list[Part] = []
        self.last = -1

    def open(self, upto: int | None = None) -> None:
        """Take over the parts of an earlier session: finish interrupted merges and find the tail.

        Args:
            upto: Last step of the table that is written second; parts entirely after it are
                leftovers of a kill.

        Raises:
            OSError: The folder cannot be read or cleaned.
        """
        every = list_parts(self._folder, self._table)
        kept = [p for p in without_overlaps(every) if upto is None or p.first <= upto]
        for part in every:
            if part not in kept:
                part.path.unlink(missing_ok=True)
        sealed = [i for i, p in enumerate(kept) if p.span >= SEALED_STEPS]
        self._tail = kept[sealed[-1] + 1 :] if sealed else kept
        self.last = kept[-1].last if kept else -1

    def write(self, records: Sequence[StepRecord]) -> None:
        """Write records as a new part.

        Raises:
            OSError: The disk is full or the folder is not writable.
        """
        frame = (
            schema.steps_frame(records, self.version)
            if self._table == "steps"
            else schema.blocks_frame(records, self._names)
        )
        first, last = records[0].step, records[-1].step
        part = Part(part_path(self._folder, self._table, first, last), first, last)
        replace_file(part.path, schema.to_parquet(frame))
        while self._tail and self._tail[-1].first >= first:  # left by an interrupted write
            again = self._tail.pop()
            if again.path != part.path:
                again.path.unlink(missing_ok=True)
        self._tail.append(part)
        self.last = last

    @property
    def crowded(self) -> bool:
        """Whether the tail is large enough to be merged before the epoch ends."""
        return len(self._tail) >= _CROWDED or sum(p.span for p in self._tail) >= SEALED_STEPS

    def merge(self, *, everything: bool = False) -> None:
        """Merge the end of the tail, or all of it, into one part; seal it if it is full.

        Crash-safe: the merged part is on disk before its pieces are removed, and readers ignore
        pieces that it covers. A piece that cannot be removed now is removed on the next open.

        Raises:
            OSError: The disk is full or the folder is not writable; the pieces are kept.
        """
        spans = [part.span for part in self._tail]
        start = 0 if everything else merge_from(spans)
        pieces = self._tail[start:]
        if len(pieces) > 1:
            rows = schema.concat(
                (schema.read_parquet(p.path) for p in pieces),
                self._table,
                self._names,
                self.version,
            )
            first, last = pieces[0].first, pieces[-1].last
            merged = Part(part_path(self._folder, self._table, first, last), first, last)
            replace_file(merged.path, schema.to_parquet(rows), sync=True)
            self._tail[start:] = [merged]
            for piece in pieces:
                if piece.path != merged.path:
                    with contextlib.suppress(PermissionError):  # on Windows a reader has it open
                        piece.path.unlink(missing_ok=True)
        if self._tail and self._tail[-1].span >= SEALED_STEPS:
            self._tail.clear()


def merge_from(spans: Sequence[int]) -> int:
    """Return the start of the next merge of a tail.

    Args:
        spans: Number of steps of each part of the tail, oldest first.

    Returns:
        Index of the first part to merge with all later ones; 0 once the whole tail fills a chunk.

    Example:
        >>> merge_from([64, 8, 4, 4])
        1
    """
    if sum(spans) >= SEALED_STEPS:
        return 0
    start, after = len(spans) - 1, spans[-1] if spans else 0
    while start > 0 and spans[start - 1] <= _RATIO * after:
        start -= 1
        after += spans[start]
    return max(start, 0)
