"""Report of an import: what was kept, dropped and changed, counted by reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["ImportReport", "ReasonCounts", "SplitReport"]

EXAMPLES = 3


@dataclass(slots=True)
class ReasonCounts:
    """Counter of events by reason that keeps the first examples of each.

    Attributes:
        counts: Number of events by reason.
        examples: Locations of the first events, by reason.
    """

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, where: str) -> None:
        """Count one event; `where` identifies the annotation or image."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        seen = self.examples.setdefault(reason, [])
        if len(seen) < EXAMPLES:
            seen.append(where)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitReport:
    """Import result of one annotation file.

    Attributes:
        split: train or val.
        source: Name of the annotation file.
        images_listed: Number of images in the file.
        images_kept: Number of images in the imported list.
        annotations_listed: Number of annotations in the file.
        annotations_kept: Number of annotations that became labels.
        dropped: Number of annotations skipped, by reason.
        images_dropped: Number of images skipped, by reason.
        changed: Number of repairs, by reason.
        doubts: Number of images whose size in the JSON differs from the file, by reason; they are
            used as they are.
        examples: First examples of each reason.
    """

    split: str
    source: str
    images_listed: int
    images_kept: int
    annotations_listed: int
    annotations_kept: int
    dropped: Mapping[str, int]
    images_dropped: Mapping[str, int]
    changed: Mapping[str, int]
    doubts: Mapping[str, int]
    examples: Mapping[str, list[str]]

    def tallies(self) -> tuple[Mapping[str, int], ...]:
        """Return the four counts by reason: annotations and images skipped, repairs, doubts."""
        return self.dropped, self.images_dropped, self.changed, self.doubts

    def line(self) -> str:
        """Return a one-line summary."""
        text = (
            f"{self.split}: {self.images_kept} of {self.images_listed} images,"
            f" {self.annotations_kept} of {self.annotations_listed} annotations"
        )
        titles = ("dropped", "images skipped", "repaired", "doubtful")
        for title, counts in zip(titles, self.tallies(), strict=True):
            if counts:
                text += f"; {title}: " + ", ".join(f"{n} {reason}" for reason, n in counts.items())
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """Result of the import of a COCO folder; also `import_report.json` beside the data YAML.

    Attributes:
        source: Folder of the user.
        task: detect, segment or pose.
        data: The data YAML for Ultralytics.
        splits: One report per annotation file, train first.
    """

    source: Path
    task: str
    data: Path
    splits: tuple[SplitReport, ...]

    def lines(self) -> tuple[str, ...]:
        """Return a short summary, one line for the import and one per split."""
        return (
            f"{self.source} imported for {self.task} as {self.data}",
            *(s.line() for s in self.splits),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, without the cache location, which may change."""
        return {
            "source": str(self.source),
            "task": self.task,
            "splits": [asdict(s) for s in self.splits],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any], data: Path) -> ImportReport:
        """Return the report of an earlier import whose YAML is `data`."""
        splits = tuple(SplitReport(**split) for split in content["splits"])
        return cls(source=Path(content["source"]), task=content["task"], data=data, splits=splits)
