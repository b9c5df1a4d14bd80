"""Scan of all splits of a data YAML, and the run of every check."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, TypeVar

from yolo_stability.data.cache import cache_root
from yolo_stability.data.check.checks import CHECKS
from yolo_stability.data.check.dataset import Dataset, DataSplit
from yolo_stability.data.check.findings import DAMAGE, INFO, WARNING, Found, scan_finding
from yolo_stability.data.check.labels import Layout
from yolo_stability.data.check.report import AuditReport, SplitAudit
from yolo_stability.data.check.scanner import ScannedImage, Scanner
from yolo_stability.data.coco.import_report import ReasonCounts
from yolo_stability.data.files import cache_file, images_of, label_file

__all__ = ["run_checks", "scan_all", "scan_labels", "tallied"]

SPLITS = ("train", "val")
WORKERS = min(8, os.cpu_count() or 1)

T = TypeVar("T")


def scan_labels(
    config: Mapping[str, Any], layout: Layout, text: str, task: str, imgsz: int
) -> AuditReport:
    """Scan the splits of a data YAML and run all checks.

    Args:
        config: The data YAML, with absolute paths.
        layout: Expected layout of the label rows.
        text: The dataset, as the user named it.
        task: detect, segment, pose or obb.
        imgsz: Image size of the training in pixels.

    Raises:
        DataError: A split has no image, or its folder does not exist.
    """
    base = str(Path(config["path"]).resolve())
    images = {split: images_of(config[split], split) for split in SPLITS if config.get(split)}
    audits, splits, found, writes = [], {}, [], []
    from yolo_stability.compat.ultralytics import scanning

    with tempfile.TemporaryDirectory(prefix="yolo-stability-") as work, scanning():
        scanner = Scanner(layout, Path(work), base, _channels(config))
        for name, files in images.items():
            seen = scan_all(scanner.scan, files)
            splits[name] = DataSplit(
                name=name,
                images=[one.facts for one in seen],
                places=tuple(_places(config[name])),
                base=base,
            )
            audits.append(_audit(name, seen))
            tally = _tally(seen, files, scanner, task)
            # in the cache there are only copies, which Ultralytics may rewrite
            if _is_ours(cache := cache_file(files)):
                tally.counts.pop("rewritten", None)
            elif audits[-1].images_kept:
                writes.append(str(cache))
            found += tallied(name, tally, len(files))
    names = dict(config["names"])
    data = Dataset(
        task=task, layout=layout, names=names, splits=splits, config=config, imgsz=imgsz, base=base
    )
    return AuditReport(
        data=text,
        task=task,
        classes=layout.classes,
        splits=tuple(audits),
        found=(*found, *run_checks(data)),
        writes=tuple(dict.fromkeys(writes)),
    )


def run_checks(data: Dataset) -> Iterator[Found]:
    """Yield the findings of every check that applies to a task, most severe first."""
    found = [
        one for check in CHECKS.make_all() if data.task in check.tasks for one in check.find(data)
    ]
    yield from sorted(found, key=lambda one: (DAMAGE, WARNING, INFO).index(one.severity))


def scan_all(scan: Callable[[str], T], files: Sequence[str]) -> list[T]:
    """Scan images with several threads, as Ultralytics does; results in the order of the files."""
    with ThreadPool(WORKERS) as pool:
        return list(pool.imap(scan, files, chunksize=16))


def tallied(split: str, tally: ReasonCounts, of: int) -> list[Found]:
    """Return the findings of Ultralytics' own scan of a split with `of` images."""
    return [
        scan_finding(split, kind, count, of, tuple(tally.examples[kind]))
        for kind, count in tally.counts.items()
    ]


def _places(given: str | Sequence[str]) -> Sequence[str]:
    return [given] if isinstance(given, str) else given


def _channels(config: Mapping[str, Any]) -> int:
    given = config.get("channels", 3)
    return given if isinstance(given, int) else 3


def _is_ours(path: Path) -> bool:
    return path.is_relative_to(cache_root())


def _audit(split: str, seen: Sequence[ScannedImage]) -> SplitAudit:
    return SplitAudit(
        split=split,
        images=len(seen),
        images_kept=sum(one.kept >= 0 for one in seen),
        labels=sum(one.rows for one in seen),
        labels_kept=sum(max(one.kept, 0) for one in seen),
        background=sum(one.kept == 0 for one in seen),
    )


def _tally(
    seen: Sequence[ScannedImage], files: Sequence[str], scanner: Scanner, task: str
) -> ReasonCounts:
    """Count the findings of Ultralytics' own scan."""
    tally = ReasonCounts()
    for one in seen:
        for kind, where in one.events:
            tally.add(kind, where)
    if all(one.kept < 0 for one in seen):
        tally.add("empty", scanner.short(files[0]))
    if task in {"segment", "obb"}:
        for one in seen:
            if one.kept > 0 and not one.facts.outlined:
                tally.add("boxes", scanner.short(label_file(one.facts.path)))
    return tally
