"""Report of the dataset check."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from yolo_stability.data.check.findings import DAMAGE, GROUPS, KINDS, Found, with_noun
from yolo_stability.data.coco.import_report import EXAMPLES, ImportReport

__all__ = ["AuditReport", "SplitAudit"]

WIDTH = 80
IMAGE, LABEL = ("image", "images"), ("label", "labels")
ANNOTATION = ("annotation", "annotations")

BY_DESIGN = {
    "crowd": "COCO's rule, not damage",
    "without labelled people": "pose trains on people only, not damage",
    "without labelled keypoints": "pose trains on keypoints only, not damage",
    "box cut to its image": "nothing lost",
}
"""What the importer does by design, with the explanation shown for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitAudit:
    """Share of a split that is trained on.

    Attributes:
        split: train or val.
        images: Number of images given to Ultralytics.
        images_kept: Number of images it trains on.
        labels: Number of rows in the label files.
        labels_kept: Number of labels it trains on.
        background: Number of kept images without a label.
    """

    split: str
    images: int
    images_kept: int
    labels: int
    labels_kept: int
    background: int

    def line(self) -> str:
        """Return a one-line summary."""
        text = (
            f"{self.split}: {self.images_kept} of {self.images} images and"
            f" {self.labels_kept} of {self.labels} labels are used"
        )
        return f"{text} ({self.background} without labels)" if self.background else text


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What Ultralytics would silently do with a dataset.

    Attributes:
        data: The checked dataset, as the user named it.
        task: detect, segment, pose, obb or classify.
        classes: Number of classes.
        splits: One entry per split, train first.
        found: Findings, by split.
        writes: Files that a training would write into the user's folder.
        imported: Report of the import of a COCO folder; None for any other dataset.
        page: The page with pictures, where one was written.
    """

    data: str
    task: str
    classes: int
    splits: tuple[SplitAudit, ...]
    found: tuple[Found, ...]
    writes: tuple[str, ...]
    imported: ImportReport | None = None
    page: str | None = None

    @property
    def damaged(self) -> bool:
        """Whether data would be lost, a file changed, or anything trained or measured wrongly."""
        return any(f.severity == DAMAGE for f in self.found) or any(self._imported())

    def _imported(self) -> tuple[int, int, int, int]:
        """Return the sums of `SplitReport.tallies`, without what happens by design."""
        tallies = [split.tallies() for split in self.imported.splits] if self.imported else []
        sums = [
            sum(n for t in tallies for reason, n in t[i].items() if reason not in BY_DESIGN)
            for i in range(4)
        ]
        return sums[0], sums[1], sums[2], sums[3]

    def verdict(self) -> str:
        """Return the outcome in one sentence."""
        if not self.damaged:
            return "Nothing would be lost."
        count = {group: self._count(group) for group in GROUPS}
        images = sum(s.images for s in self.splits)
        labels = sum(s.labels - s.labels_kept for s in self.splits)
        dropped, missed, repaired, doubts = self._imported()
        wrong = [f"{f.split}: {with_noun(f.count, f.thing)} {f.why}" for f in self._in("wrong")]
        parts: list[tuple[int, str]] = [
            (count["refused"], "Ultralytics would refuse to train"),
            (len(wrong), "; ".join(wrong)),
            (
                count["ignored"] or labels,
                f"{count['ignored']} of {images} images and {with_noun(labels, LABEL)} lost",
            ),
            (
                count["rewritten"],
                f"{with_noun(count['rewritten'], KINDS['rewritten'].thing)} rewritten",
            ),
            (
                dropped or missed,
                f"{with_noun(dropped, ANNOTATION)} and {with_noun(missed, IMAGE)} "
                "skipped by the import",
            ),
            (repaired, f"{repaired} repaired"),
            (doubts, f"{with_noun(doubts, IMAGE)} doubtful"),
        ]
        damage = "; ".join(text for number, text in parts if number)
        return f"Damage: {damage}. Fix or remove what is listed."

    def _in(self, group: str) -> list[Found]:
        return [f for f in self.found if f.group == group]

    def _count(self, group: str) -> int:
        return sum(f.count for f in self._in(group))

    def lines(self) -> Iterator[str]:
        """Yield the lines of the report, at most 80 columns except for paths."""
        yield f"{self.data}, {self.task}, {with_noun(self.classes, ('class', 'classes'))}"
        for split in self.splits:
            yield f"  {split.line()}"
        if self.imported:
            yield from _import_lines(self.imported)
        for name, group in GROUPS.items():
            if found := self._in(name):
                yield from ("", f"{group.title}: {group.effect}")
                for one in found:
                    yield from _found_lines(one)
        if self.writes:
            yield from ("", "Written by a training: a cache of its scan, which may be deleted")
            yield from (f"  {path}" for path in self.writes)
        if self.page:
            yield from ("", f"Page with pictures: {self.page}")
        yield from ("", *textwrap.wrap(self.verdict(), WIDTH))

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "data": self.data,
            "task": self.task,
            "classes": self.classes,
            "damaged": self.damaged,
            "splits": [asdict(s) for s in self.splits],
            "found": [f.to_json() for f in self.found],
            "writes": list(self.writes),
            "imported": self.imported.to_json() if self.imported else None,
            "page": self.page,
        }


def _found_lines(one: Found) -> Iterator[str]:
    yield from textwrap.wrap(one.line(), WIDTH, initial_indent="  ", subsequent_indent="    ")
    yield from (f"    {where}" for where in one.examples)
    if one.count > len(one.examples) >= EXAMPLES:
        yield f"    and {one.count - len(one.examples)} more"
    if one.kind not in KINDS:
        yield from textwrap.wrap(
            one.message, WIDTH, initial_indent="    ", subsequent_indent="    "
        )


def _import_lines(report: ImportReport) -> Iterator[str]:
    """Yield what the import of a COCO folder skipped, repaired and found doubtful."""
    titles = (
        "annotations skipped",
        "images skipped",
        "repaired",
        "doubtful, used as in the JSON",
    )
    for split in report.splits:
        for title, counts in zip(titles, split.tallies(), strict=True):
            if counts:
                yield from ("", f"Import of {split.source}, {title}")
            for reason, count in counts.items():
                rule = BY_DESIGN.get(reason)
                yield f"  {count} {reason} ({rule})" if rule else f"  {count} {reason}"
                yield from (
                    () if rule else (f"    {where}" for where in split.examples.get(reason, ()))
                )
