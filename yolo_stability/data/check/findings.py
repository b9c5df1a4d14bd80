"""What a check of a dataset can find, and the report it makes of it."""

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
    """What Ultralytics does with a kind of damage.

    Attributes:
        title: One or two words.
        effect: What happens, in a few words.
        loss: Whether something of the user's is lost or changed.
    """

    title: str
    effect: str
    loss: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DamageKind:
    """One kind of damage.

    Attributes:
        group: Key of `GROUPS`.
        thing: What is counted, as singular and plural.
        why: What is wrong with it, to follow the thing.
    """

    group: str
    thing: tuple[str, str]
    why: str


GROUPS: Mapping[str, DamageGroup] = {
    "refused": DamageGroup(
        title="Refused", effect="Ultralytics ends with an error instead of training"
    ),
    "ignored": DamageGroup(
        title="Ignored", effect="Ultralytics leaves out the image with all its labels"
    ),
    "removed": DamageGroup(
        title="Removed", effect="Ultralytics keeps only the first of equal labels"
    ),
    "unread": DamageGroup(title="Never read", effect="Ultralytics looks for labels of images only"),
    "rewritten": DamageGroup(
        title="Rewritten", effect="Ultralytics compresses them anew, in your folder"
    ),
    "kept": DamageGroup(
        title="Kept, but look", effect="Ultralytics trains on these as they are", loss=False
    ),
}
"""What can happen, the worst first."""

IMAGE, SET, LABEL = ("image", "images"), ("set", "sets"), ("label", "labels")
ANNOTATION = ("annotation", "annotations")


def _kind(group: str, thing: tuple[str, str], why: str) -> DamageKind:
    return DamageKind(group=group, thing=thing, why=why)


KINDS: Mapping[str, DamageKind] = {
    "empty": _kind("refused", SET, "without one usable image"),
    "unlabelled": _kind("refused", SET, "without one label file"),
    "boxes": _kind("refused", IMAGE, "labelled with boxes, where this task needs outlines"),
    "missing": _kind("ignored", IMAGE, "listed, but not there"),
    "damaged": _kind("ignored", IMAGE, "that cannot be read"),
    "columns": _kind("ignored", IMAGE, "with a row of a wrong number of columns"),
    "number": _kind("ignored", IMAGE, "with a row that is not made of numbers"),
    "mixed": _kind("ignored", IMAGE, "with boxes and outlines in one label file"),
    "nan": _kind("ignored", IMAGE, "with NaN in a row"),
    "infinite": _kind("ignored", IMAGE, "with an infinite number in a row"),
    "above": _kind("ignored", IMAGE, "with a coordinate above 1.01"),
    "negative": _kind("ignored", IMAGE, "with a negative number in a row"),
    "fraction": _kind("ignored", IMAGE, "with a class that is no whole number"),
    "class": _kind("ignored", IMAGE, "with a class that the data YAML does not name"),
    "unreadable": _kind("ignored", IMAGE, "whose label file cannot be read as UTF-8"),
    "other": _kind("ignored", IMAGE, "for a reason that this check does not know"),
    "duplicate": _kind("removed", LABEL, "equal to another one of the image"),
    "unread": _kind("unread", ("label file", "label files"), "without an image"),
    "rewritten": _kind("rewritten", ("JPEG", "JPEGs"), "without the end marker FFD9"),
    "flat": _kind("kept", ("box", "boxes"), "without an area"),
}
"""Every kind by name; what an import leaves out stands in its own report."""

BY_DESIGN = {
    "crowd": "COCO's rule, no damage",
    "without labelled people": "pose trains on people only, no damage",
    "without labelled keypoints": "pose trains on keypoints only, no damage",
    "box cut to its image": "nothing lost",
}
"""What the importer does by rule, with the words that say so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One kind of damage in one split.

    Attributes:
        split: train or val; `all` for what concerns the dataset as a whole.
        kind: Key of `KINDS`.
        count: How often.
        examples: The first places: file, line and row.
    """

    split: str
    kind: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitAudit:
    """How much of a split is trained on.

    Attributes:
        split: train or val.
        images: Images that Ultralytics is given.
        images_kept: Those it trains on.
        labels: Rows in the label files.
        labels_kept: Those it trains on.
        background: Kept images without a label.
    """

    split: str
    images: int
    images_kept: int
    labels: int
    labels_kept: int
    background: int

    def line(self) -> str:
        """Return one line for a person."""
        text = (
            f"{self.split}: {self.images_kept} of {self.images} images and"
            f" {self.labels_kept} of {self.labels} labels are used"
        )
        return f"{text} ({self.background} without labels)" if self.background else text


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What Ultralytics would silently do with a dataset.

    Attributes:
        data: What was checked, as the user named it.
        task: detect, segment, pose or obb.
        classes: Number of classes.
        splits: One entry a split, train first.
        found: What was found, by split.
        writes: Files that a training would put into the user's folder.
        imported: What the import of a COCO folder did; None for anything else.
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
        """Whether anything would be lost, or a file of the user changed."""
        return any(GROUPS[KINDS[f.kind].group].loss for f in self.found) or any(self._imported())

    def _imported(self) -> tuple[int, int, int, int]:
        """Return what an import left out, repaired and doubts, as `SplitReport.tallies`, but for what is no damage."""
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
                f"{_with_noun(dropped, ANNOTATION)} and {_with_noun(missed, IMAGE)} left out by the import",
            ),
            (repaired, f"{repaired} repaired"),
            (doubts, f"{_with_noun(doubts, IMAGE)} doubtful"),
        ]
        return f"Damage: {'; '.join(text for number, text in parts if number)}. Mend or remove what is named above."

    def lines(self) -> Iterator[str]:
        """Yield the report for a person, at most 80 columns except for paths."""
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
    """Yield what the import of a COCO folder left out, repaired and doubts."""
    titles = (
        "annotations left out",
        "images left out",
        "repaired",
        "doubtful, taken as the JSON says",
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
