"""Small parts into large ones: which to merge when, so that the total work stays near linear and memory flat.

The log of a table is a row of sealed chunks of about 16k steps, never touched again, and a short tail. Merging takes
the longest end of the tail in which no part is more than twice as long as everything after it: each row is
rewritten a logarithmic number of times, and never more than one chunk is in memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from yolo_stability.core.files import replace_file
from yolo_stability.core.types import StepRecord
from yolo_stability.trace import schema
from yolo_stability.trace.layout import Part, TableName, list_parts, part_path, without_overlaps

__all__ = ["SEALED_STEPS", "Compactor", "merge_from"]

SEALED_STEPS = 16_384
_RATIO = 2
_CROWDED = 16


class Compactor:
    """The parts of one table, appended to by one writer.

    Args:
        folder: The `stability/` folder.
        table: Which table these parts hold.
        names: Block names in the order of the header.
    """

    def __init__(self, folder: Path, table: TableName, names: Sequence[str]) -> None:
        self._folder = folder
        self._table: TableName = table
        self._names = names
        self._tail: list[Part] = []
        self.last = -1  # last step on disk

    def open(self, upto: int | None = None) -> None:
        """Take over what an earlier run left: finish its half-deleted merges and find the tail.

        Args:
            upto: Last step of the table that is written second; parts wholly beyond it are remains of a kill.

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
            OSError: The disk is full, or the folder cannot be written.
        """
        steps = self._table == "steps"
        frame = schema.steps_frame(records) if steps else schema.blocks_frame(records, self._names)
        first, last = records[0].step, records[-1].step
        part = Part(part_path(self._folder, self._table, first, last), first, last)
        replace_file(part.path, schema.to_parquet(frame))
        while self._tail and self._tail[-1].first >= first:  # an interrupted write had got this far
            again = self._tail.pop()
            if again.path != part.path:
                again.path.unlink(missing_ok=True)
        self._tail.append(part)
        self.last = last

    @property
    def crowded(self) -> bool:
        """Whether the tail has so many parts, or so many steps, that it should be merged before the epoch ends."""
        return len(self._tail) >= _CROWDED or sum(p.span for p in self._tail) >= SEALED_STEPS

    def merge(self, *, everything: bool = False) -> None:
        """Merge the end of the tail, or all of it, into one part; a full one is sealed.

        Crash-safe: the merged part is on the disk before its pieces go, and a reader drops pieces that it covers. A
        piece that cannot be removed now is removed when the folder is opened next.

        Raises:
            OSError: The disk is full, or the folder cannot be written; the pieces stay.
        """
        spans = [part.span for part in self._tail]
        start = 0 if everything else merge_from(spans)
        pieces = self._tail[start:]
        if len(pieces) > 1:
            rows = schema.concat(
                (schema.read_parquet(p.path) for p in pieces), self._table, self._names
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
    """Choose where the next merge of a tail begins.

    Args:
        spans: Steps of each part of the tail, oldest first.

    Returns:
        Index of the first part to merge with all that follow it; 0 once the whole tail fills a chunk.
    """
    if sum(spans) >= SEALED_STEPS:
        return 0
    start, after = len(spans) - 1, spans[-1] if spans else 0
    while start > 0 and spans[start - 1] <= _RATIO * after:
        start -= 1
        after += spans[start]
    return max(start, 0)
