"""Findings of the dataset check: those of Ultralytics' own scan by kind, and their common form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yolo_stability.core.text import percent

__all__ = [
    "DAMAGE",
    "GROUPS",
    "INFO",
    "KINDS",
    "WARNING",
    "DamageKind",
    "Found",
    "LabelRow",
    "ShownImage",
    "scan_finding",
    "with_noun",
]

DAMAGE, WARNING, INFO = "damage", "warning", "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class DamageGroup:
    """Ultralytics' handling of a group of findings.

    Attributes:
        title: One or two words.
        effect: What happens, in a few words.
    """

    title: str
    effect: str


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
    "rewritten": DamageGroup(
        title="Rewritten", effect="Ultralytics compresses them again, in your folder"
    ),
    "wrong": DamageGroup(
        title="Trained or measured wrongly", effect="valid files and rows that cannot be meant"
    ),
    "doubtful": DamageGroup(title="Check", effect="Ultralytics uses these as they are"),
    "notes": DamageGroup(title="For information", effect="nothing is lost"),
}
"""Possible effects, worst first."""

BY_SEVERITY = {DAMAGE: "wrong", WARNING: "doubtful", INFO: "notes"}
"""Group of a finding that is not part of Ultralytics' own scan."""

IMAGE, SET, LABEL = ("image", "images"), ("set", "sets"), ("label", "labels")


def _kind(group: str, thing: tuple[str, str], why: str) -> DamageKind:
    return DamageKind(group=group, thing=thing, why=why)


KINDS: Mapping[str, DamageKind] = {
    "empty": _kind("refused", SET, "without a usable image"),
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
    "rewritten": _kind("rewritten", ("JPEG", "JPEGs"), "without the end marker FFD9"),
}
"""Kinds of findings of the scan by name; the other kinds are the files of `checks/`."""


@dataclass(frozen=True, slots=True)
class LabelRow:
    """A label row on a picture.

    Attributes:
        box: Normalized center x, center y, width and height.
        marked: Whether the finding is about this row.
    """

    box: tuple[float, float, float, float]
    marked: bool = True


@dataclass(frozen=True, slots=True)
class ShownImage:
    """An image that shows a finding.

    Attributes:
        path: Path of the image.
        rows: Label rows to draw on it.
    """

    path: str
    rows: tuple[LabelRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Occurrences of one kind of finding in one split.

    Attributes:
        split: train or val; `all` for the dataset as a whole.
        kind: Key of `KINDS`, or name of a file in `checks/`.
        severity: info, warning or damage.
        count: Number of occurrences.
        of: Number of items that were examined, such as all boxes of the split.
        thing: Counted item, as singular and plural.
        why: What is wrong with the item, to follow its noun.
        examples: First locations: file, line and row.
        message: What it does to a training, and how to fix it.
        pictures: Images that show it, for the page.
    """

    split: str
    kind: str
    severity: str
    count: int
    of: int
    thing: tuple[str, str]
    why: str
    examples: tuple[str, ...]
    message: str
    pictures: tuple[ShownImage, ...] = ()

    @property
    def group(self) -> str:
        """Key of `GROUPS`."""
        return KINDS[self.kind].group if self.kind in KINDS else BY_SEVERITY[self.severity]

    def line(self) -> str:
        """Return the finding in one line."""
        many = self.of > 1 and self.kind not in KINDS
        share = f" of {self.of} ({percent(self.count / self.of)})" if many else ""
        return f"{self.split}: {with_noun(self.count, self.thing, share)} {self.why}"

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "split": self.split,
            "kind": self.kind,
            "severity": self.severity,
            "count": self.count,
            "of": self.of,
            "examples": list(self.examples),
            "message": f"{self.line()}. {self.message}",
            "group": self.group,
            "ultralytics": GROUPS[self.group].effect,
        }


def scan_finding(split: str, kind: str, count: int, of: int, examples: tuple[str, ...]) -> Found:
    """Return a finding of Ultralytics' own scan.

    Args:
        split: train or val; `all` for the dataset as a whole.
        kind: Key of `KINDS`.
        count: Number of occurrences.
        of: Number of items that were examined.
        examples: First locations.
    """
    about = KINDS[kind]
    return Found(
        split=split,
        kind=kind,
        severity=DAMAGE,
        count=count,
        of=of,
        thing=about.thing,
        why=about.why,
        examples=examples,
        message=f"{GROUPS[about.group].effect}.",
    )


def with_noun(count: int, thing: tuple[str, str], between: str = "") -> str:
    """Return a count with its noun.

    Example:
        >>> with_noun(1, ("box", "boxes"))
        '1 box'
        >>> with_noun(2, ("box", "boxes"), " of 8 (25 %)")
        '2 of 8 (25 %) boxes'
    """
    return f"{count}{between} {thing[count != 1]}"
