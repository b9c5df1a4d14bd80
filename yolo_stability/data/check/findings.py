"""Kinds of findings of the dataset check, and its report."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from yolo_stability.data.coco.import_report import ImportReport

__all__ = ["KINDS", "AuditReport", "DamageKind", "Found", "SplitAudit"]

WIDTH = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class DamageGroup:
    """Ultralytics' handling of a group of findings.

    Attributes:
        title: One or two words.
        effect: What happens, in a few words.
        loss: Whether user data is lost or changed.
    """

    title: str
    effect: str
    loss: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DamageKind:
    """One kind of finding.

    Attributes:
        group: Key of `GROUPS`.
        thing: Counted item, as singular and plural.
        why: What is wrong with the item, to follow its noun.
    """

    group: str
    thing: tuple[str, str]
    why: str


GROUPS: Mapping[str, DamageGroup] = {
    "refused": DamageGroup(
        title="Refused", effect="Ultralytics stops with an error instead of training"
    ),
    "ignored": DamageGroup(
        title="Ignored", effect="Ultralytics skips the image with all its labels"
    ),
    "removed": DamageGroup(
        title="Removed", effect="Ultralytics keeps only the first of equal labels"
    ),
    "unread": DamageGroup(
        title="Never read", effect="Ultralytics only looks for the labels of images"
    ),
    "rewritten": DamageGroup(
        title="Rewritten", effect="Ultralytics compresses them again, in your folder"
    ),
    "kept": DamageGroup(
        title="Kept, but check", effect="Ultralytics trains on these as they are", loss=False
    ),
}
"""Possible effects, worst first."""

IMAGE, SET, LABEL = ("image", "images"), ("set", "sets"), ("label", "labels")
ANNOTATION = ("annotation", "annotations")


def _kind(group: str, thing: tuple[str, str], why: str) -> DamageKind:
    return DamageKind(group=group, thing=thing, why=why)


KINDS: Mapping[str, DamageKind] = {
    "empty": _kind("refused", SET, "without a usable image"),
    "unlabelled": _kind("refused", SET, "without a label file"),
    "boxes": _kind("refused", IMAGE, "labeled with boxes, where this task needs outlines"),
    "missing": _kind("ignored", IMAGE, "listed, but missing"),
    "damaged": _kind("ignored", IMAGE, "that cannot be read"),
    "columns": _kind("ignored", IMAGE, "with a row of the wrong number of columns"),
    "number": _kind("ignored", IMAGE, "with a row that is not numeric"),
    "mixed": _kind("ignored", IMAGE, "with boxes and outlines in one label file"),
    "nan": _kind("ignored", IMAGE, "with NaN in a row"),
    "infinite": _kind("ignored", IMAGE, "with an infinite number in a row"),
    "above": _kind("ignored", IMAGE, "with a coordinate above 1.01"),
    "negative": _kind("ignored", IMAGE, "with a negative number in a row"),
    "fraction": _kind("ignored", IMAGE, "with a class that is not an integer"),
    "class": _kind("ignored", IMAGE, "with a class that the data YAML does not name"),
    "unreadable": _kind("ignored", IMAGE, "whose label file cannot be read as UTF-8"),
    "other": _kind("ignored", IMAGE, "for a reason unknown to this check"),
    "duplicate": _kind("removed", LABEL, "equal to another label of the image"),
    "unread": _kind("unread", ("label file", "label files"), "without an image"),
    "rewritten": _kind("rewritten", ("JPEG", "JPEGs"), "without the end marker FFD9"),
    "flat": _kind("kept", ("box", "boxes"), "without an area"),
}
"""All kinds by name; what an import skips is in its own report."""

BY_DESIGN = {
    "crowd": "COCO's rule, not damage",
    "without labelled people": "pose trains on people only, not damage",
    "without labelled keypoints": "pose trains on keypoints only, not damage",
    "box cut to its image": "nothing lost",
}
"""What the importer does by design, with the explanation shown for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Occurrences of one kind of finding in one split.

    Attributes:
        split: train or val; `all` for the dataset as a whole.
        kind: Key of `KINDS`.
        count: Number of occurrences.
        examples: First locations: file, line and row.
    """

    split: str
    kind: str
    count: int
    examples: tuple[str, ...]


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
        task: detect, segment, pose or obb.
        classes: Number of classes.
        splits: One entry per split, train first.
        found: Findings, by split.
        writes: Files that a training would write into the user's folder.
        imported: Report of the import of a COCO folder; None for any other dataset.
    """

    data: str
    task: str
    classes: int
    splits: tuple[SplitAudit, ...]
    found: tuple[Found, ...]
    writes: tuple[str, ...]
    imported: ImportReport | None = None

    @property
    def damaged(self) -> bool:
        """Whether data would be lost or a file of the user changed."""
        return any(GROUPS[KINDS[f.kind].group].loss for f in self.found) or any(self._imported())

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
        count = {
            group: sum(f.count for f in self.found if KINDS[f.kind].group == group)
            for group in GROUPS
        }
        images, labels = (
            sum(s.images for s in self.splits),
            sum(s.labels - s.labels_kept for s in self.splits),
        )
        dropped, missed, repaired, doubts = self._imported()
        parts = [
            (count["refused"], "Ultralytics would refuse to train"),
            (
                count["ignored"] or labels,
                f"{count['ignored']} of {images} images and {_with_noun(labels, LABEL)} lost",
            ),
            (count["unread"], f"{_with_noun(count['unread'], KINDS['unread'].thing)} never read"),
            (
                count["rewritten"],
                f"{_with_noun(count['rewritten'], KINDS['rewritten'].thing)} rewritten",
            ),
            (
                dropped or missed,
                f"{_with_noun(dropped, ANNOTATION)} and {_with_noun(missed, IMAGE)} "
                "skipped by the import",
            ),
            (repaired, f"{repaired} repaired"),
            (doubts, f"{_with_noun(doubts, IMAGE)} doubtful"),
        ]
        damage = "; ".join(text for number, text in parts if number)
        return f"Damage: {damage}. Fix or remove the items listed above."

    def lines(self) -> Iterator[str]:
        """Yield the lines of the report, at most 80 columns except for paths."""
        yield f"{self.data}, {self.task}, {_with_noun(self.classes, ('class', 'classes'))}"
        for split in self.splits:
            yield f"  {split.line()}"
        if self.imported:
            yield from _import_lines(self.imported)
        for name, group in GROUPS.items():
            found = [f for f in self.found if KINDS[f.kind].group == name]
            if found:
                yield from ("", f"{group.title}: {group.effect}")
                for one in found:
                    yield from _found_lines(one)
        if self.writes:
            yield from ("", "Written by a training: a cache of its scan, which may be deleted")
            yield from (f"  {path}" for path in self.writes)
        yield from ("", *textwrap.wrap(self.verdict(), WIDTH))

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        groups = {f.kind: KINDS[f.kind].group for f in self.found}
        found = [
            asdict(f) | {"group": groups[f.kind], "ultralytics": GROUPS[groups[f.kind]].effect}
            for f in self.found
        ]
        return {
            "data": self.data,
            "task": self.task,
            "classes": self.classes,
            "damaged": self.damaged,
            "splits": [asdict(s) for s in self.splits],
            "found": found,
            "writes": list(self.writes),
            "imported": self.imported.to_json() if self.imported else None,
        }


def _with_noun(count: int, thing: tuple[str, str]) -> str:
    return f"{count} {thing[count != 1]}"


def _found_lines(one: Found) -> Iterator[str]:
    kind = KINDS[one.kind]
    yield f"  {one.split}: {_with_noun(one.count, kind.thing)} {kind.why}"
    yield from (f"    {where}" for where in one.examples)
    if one.count > len(one.examples):
        yield f"    and {one.count - len(one.examples)} more"


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
