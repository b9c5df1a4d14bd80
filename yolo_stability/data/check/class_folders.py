"""Scan of a classification set: a folder per split, in it a folder of images per class."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from yolo_stability.core.errors import DataError
from yolo_stability.data.check.dataset import Dataset, DataSplit, ImageFacts
from yolo_stability.data.check.labels import Layout
from yolo_stability.data.check.report import AuditReport, SplitAudit
from yolo_stability.data.check.scan import run_checks, scan_all, tallied
from yolo_stability.data.check.scanner import (
    ScannedImage,
    describe_file,
    image_fault,
    on_copy,
    place,
)
from yolo_stability.data.coco.import_report import ReasonCounts
from yolo_stability.data.files import SUFFIXES

__all__ = ["has_class_folders", "scan_class_folders"]

VAL = ("val", "validation", "valid", "test")
"""Folders that Ultralytics measures on; the first that exists."""


def has_class_folders(root: Path) -> bool:
    """Return whether a folder is a classification set: `train/` holds folders with images.

    Args:
        root: An existing folder.
    """
    train = root / "train"
    if not train.is_dir() or (train / "labels").is_dir() or (train / "images").is_dir():
        return False
    return any(True for folder in _folders(train) for _ in _images(train / folder))


def scan_class_folders(root: Path, text: str, imgsz: int) -> AuditReport:
    """Scan a classification set and run all checks that apply to it.

    Args:
        root: Folder of the set.
        text: The set, as the user named it.
        imgsz: Image size of the training in pixels.

    Raises:
        DataError: A folder cannot be read.
    """
    from yolo_stability.compat.ultralytics import scanning

    root = root.resolve()
    places = {"train": root / "train"}
    if (measured := next((name for name in VAL if (root / name).is_dir()), None)) is not None:
        places["val"] = root / measured
    audits, splits, found = [], {}, []
    try:
        with tempfile.TemporaryDirectory(prefix="yolo-stability-") as work, scanning():
            for name, folder in places.items():
                split, seen = _split(name, folder, root, Path(work))
                splits[name] = split
                audits.append(_audit(split))
                found += tallied(name, _tally(seen), len(seen))
    except OSError as err:
        raise DataError(f"Cannot read {root}: {err}.") from err
    names = dict(enumerate(splits["train"].folders))
    data = Dataset(
        task="classify",
        layout=Layout(classes=len(names)),
        names=names,
        splits=splits,
        config={},
        imgsz=imgsz,
        base=str(root),
    )
    return AuditReport(
        data=text,
        task="classify",
        classes=len(names),
        splits=tuple(audits),
        found=(*found, *run_checks(data)),
        writes=tuple(str(place.with_suffix(".cache")) for place in places.values()),
    )


def _split(name: str, folder: Path, root: Path, work: Path) -> tuple[DataSplit, list[ScannedImage]]:
    """Scan the class folders of a split."""
    folders = _folders(folder)
    listed = {path: i for i, group in enumerate(folders) for path in _images(folder / group)}

    def scan(path: str) -> ScannedImage:
        facts = ImageFacts(path=path, group=listed[path])
        seen = ScannedImage(facts, kept=1)
        short = os.path.relpath(path, root)
        try:
            fault, used, rewritten = on_copy(path, work, _verify)
        except OSError as err:
            fault, used, rewritten = str(err), path, False
        if rewritten:
            seen.events.append(("rewritten", short))
        if fault is not None:
            facts.kept, seen.kept = False, -1
            reason = image_fault(path, fault.replace(used, path))
            seen.events.append(("damaged", place(short, reason)))
        else:
            describe_file(facts, channels=3)
        return seen

    seen = scan_all(scan, list(listed))
    split = DataSplit(
        name=name,
        images=[one.facts for one in seen],
        places=(str(folder),),
        folders=tuple(folders),
        base=str(root),
    )
    return split, seen


def _verify(path: str) -> str | None:
    from yolo_stability.compat.images import verify_class_image

    return verify_class_image(path)


def _folders(split: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(split) if entry.is_dir())


def _images(folder: Path) -> Iterator[str]:
    """Yield the images below a class folder, in the order of torchvision's ImageFolder."""
    for place_, _, names in sorted(os.walk(folder, followlinks=True)):
        for name in sorted(names):
            if f".{name.rpartition('.')[-1].lower()}" in SUFFIXES:
                yield os.path.join(place_, name)  # noqa: PTH118 - called for every image


def _audit(split: DataSplit) -> SplitAudit:
    kept = len(split.kept)
    return SplitAudit(
        split=split.name,
        images=len(split.images),
        images_kept=kept,
        labels=len(split.images),
        labels_kept=kept,
        background=0,
    )


def _tally(seen: list[ScannedImage]) -> ReasonCounts:
    tally = ReasonCounts()
    for one in seen:
        for kind, where in one.events:
            tally.add(kind, where)
    return tally
