"""Dataset check: finds what Ultralytics would silently drop, remove or rewrite, changing nothing.

The verdict on each image is Ultralytics' own, taken on a copy where it would rewrite the file. This
package adds the reason, the location, and what the scan does not cover: labels that are never read
and files that a training would write.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

from yolo_stability.core.errors import DataError
from yolo_stability.data.cache import cache_root
from yolo_stability.data.check.findings import AuditReport, Found, SplitAudit
from yolo_stability.data.check.labels import LabelVerdict, Layout, classify_labels
from yolo_stability.data.coco.import_report import ReasonCounts
from yolo_stability.data.coco.importer import import_coco
from yolo_stability.data.coco.layout import has_yaml, is_coco
from yolo_stability.data.files import (
    LABEL_TASKS,
    cache_file,
    images_of,
    label_file,
    plain_config,
    unfinished_jpeg,
    unread_labels,
)
from yolo_stability.data.resolve import resolve_data
from yolo_stability.data.synthetic.datasets import EMBEDDED, embedded_spec

__all__ = ["check_data"]

SPLITS = ("train", "val")
WORKERS = min(8, os.cpu_count() or 1)
LINE = 74
"""Maximum length of an example in characters, unless its path is longer."""
PLUGIN = {".heic", ".heif"}
"""Suffixes that Ultralytics opens with a package it installs on first use."""


@dataclass(slots=True)
class ScannedImage:
    """Scan result of one image.

    Attributes:
        rows: Rows of its label file.
        kept: Number of labels kept; -1 if the image is ignored.
        events: Kind and location of each finding.
        outlined: Whether its labels are outlines.
        paired: Whether it is valid and has a label file.
    """

    rows: int = 0
    kept: int = -1
    events: list[tuple[str, str]] = field(default_factory=list)
    outlined: bool = False
    paired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageAnswer:
    """Ultralytics' verdict on one image.

    Attributes:
        kept: Number of labels kept; -1 if the image is ignored.
        message: Ultralytics' message.
        rewritten: Whether it would rewrite the file.
        sound: Whether the image alone is accepted.
    """

    kept: int
    message: str
    rewritten: bool = False
    sound: bool = True


def check_data(data: str | Path, task: str | None = None) -> AuditReport:
    """Check a dataset as Ultralytics would scan it before a training.

    Nothing is written except to the cache of this package, when a COCO folder is imported.

    Args:
        data: A data YAML, a folder with one, a COCO folder, an embedded set, or a name shipped with
            Ultralytics.
        task: detect, segment, pose or obb; None for the task that the data is made for.

    Returns:
        What would be lost, changed and written.

    Raises:
        DataError: There is no such dataset, or it cannot be read.
    """
    text = os.fspath(data)
    if task not in (None, *LABEL_TASKS):
        raise DataError(f"The check reads labels for {', '.join(LABEL_TASKS)}, not {task}.")
    if "://" in text or Path(text).suffix.lower() in {".zip", ".tar", ".gz", ".tgz", ".ndjson"}:
        raise DataError(
            f"{text} is not unpacked by this check; download and unpack it, then check its data "
            "YAML."
        )
    source = Path(os.path.expanduser(text))  # noqa: PTH111 - pathlib raises on an unknown user
    folder = text not in EMBEDDED and os.path.isdir(source)  # noqa: PTH112 - or an overlong name
    coco = folder and not has_yaml(source) and is_coco(source)
    if coco:
        task = task or _coco_task(source)
        imported = import_coco(source, task)
        config = plain_config(str(imported.data))
    else:
        task = task or (embedded_spec(text).tasks[0] if text in EMBEDDED else None)
        imported = None
        config = plain_config(resolve_data(text, task or "detect").data)
    layout, task = _layout(config, task, text)
    return _scan(config, layout, text, task, imported)


def _coco_task(folder: Path) -> str:
    return (
        "detect" if any(True for _ in (folder / "annotations").glob("instances_*.json")) else "pose"
    )


def _layout(config: Mapping[str, Any], task: str | None, text: str) -> tuple[Layout, str]:
    """Return the expected layout of label rows, and the task."""
    shape = config.get("kpt_shape")
    task = task or ("pose" if shape else "detect")
    if shape is None:
        shape = (0, 0)
    good = len(shape) == 2 and all(
        isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 1e4 for v in shape
    )
    if not good or (task == "pose" and (shape[0] == 0 or shape[1] not in {2, 3})):
        found = f"kpt_shape: {list(shape)}" if any(shape) else "no kpt_shape"
        raise DataError(
            f"{text} has {found}, but pose needs 'kpt_shape: [number of keypoints, 2 or 3]'."
        )
    classes = len(config["names"])
    return Layout(
        classes=classes, keypoints=shape[0], dimensions=shape[1], pose=task == "pose"
    ), task


def _scan(
    config: Mapping[str, Any], layout: Layout, text: str, task: str, imported: Any
) -> AuditReport:
    """Scan the splits of a data YAML."""
    base = str(Path(config["path"]).resolve())
    images = {split: images_of(config[split], split) for split in SPLITS if config.get(split)}
    splits, found, writes = [], [], []
    from yolo_stability.compat.ultralytics import scanning

    with tempfile.TemporaryDirectory(prefix="yolo-stability-") as work, scanning():
        for split, files in images.items():
            audited, tally = _split(split, files, Scanner(layout, Path(work), base), task)
            splits.append(audited)
            # in the cache there are only copies, which Ultralytics may rewrite
            if _is_ours(cache := cache_file(files)):
                tally.counts.pop("rewritten", None)
            elif audited.images_kept:
                writes.append(str(cache))
            found += _found(split, tally)
    tally = ReasonCounts()
    for path in unread_labels(file for files in images.values() for file in files):
        tally.add("unread", _short(path, base))
    return AuditReport(
        data=text,
        task=task,
        classes=layout.classes,
        splits=tuple(splits),
        found=(*found, *_found("all", tally)),
        writes=tuple(dict.fromkeys(writes)),
        imported=imported,
    )


def _is_ours(path: Path) -> bool:
    return path.is_relative_to(cache_root())


def _found(split: str, tally: ReasonCounts) -> list[Found]:
    return [
        Found(split=split, kind=k, count=n, examples=tuple(tally.examples[k]))
        for k, n in tally.counts.items()
    ]


def _split(
    split: str, files: Sequence[str], scanner: Scanner, task: str
) -> tuple[SplitAudit, ReasonCounts]:
    """Scan one split with several threads, as Ultralytics does."""
    tally, boxes = ReasonCounts(), ReasonCounts()
    images = rows = labels = background = paired = 0
    with ThreadPool(WORKERS) as pool:
        for path, seen in zip(files, pool.imap(scanner.scan, files, chunksize=16), strict=True):
            rows += seen.rows
            labels += max(seen.kept, 0)
            images += seen.kept >= 0
            background += seen.kept == 0
            paired += seen.paired
            for kind, where in seen.events:
                tally.add(kind, where)
            if seen.kept > 0 and not seen.outlined:
                boxes.add("boxes", scanner.short(label_file(path)))
    if not images:
        tally.add("empty", scanner.short(files[0]))
    elif split == "train" and not paired:
        missing = f"{scanner.short(label_file(files[0]))} and the other label files do not exist"
        tally.add("unlabelled", missing)
    if task in {"segment", "obb"}:
        tally.counts |= boxes.counts
        tally.examples |= boxes.examples
    audited = SplitAudit(
        split=split,
        images=len(files),
        images_kept=images,
        labels=rows,
        labels_kept=labels,
        background=background,
    )
    return audited, tally


class Scanner:
    """Scanner of single images; safe to use from several threads.

    Args:
        layout: Expected layout of label rows.
        work: Empty folder for copies of JPEGs that Ultralytics would rewrite.
        base: Folder of the dataset; examples are shown relative to it.
    """

    def __init__(self, layout: Layout, work: Path, base: str) -> None:
        from yolo_stability.compat.ultralytics import scan_label

        self._verify = scan_label
        self.layout, self.work, self.base = layout, work, base

    def short(self, path: str) -> str:
        """Return a path relative to the dataset, as shown in examples."""
        return _short(path, self.base)

    def scan(self, image: str) -> ScannedImage:
        """Return what Ultralytics would do with an image, and why."""
        seen = ScannedImage()
        if not os.path.isfile(image):  # noqa: PTH113 - pathlib raises on odd names
            seen.events.append(("missing", self.short(image)))
            return seen
        label = label_file(image)
        try:
            verdict: LabelVerdict | None = self._classify(label)
        except (OSError, UnicodeDecodeError):
            verdict = None
        answer = self._verify_safely(image, label)
        seen.kept, seen.paired = answer.kept, answer.sound and os.path.isfile(label)  # noqa: PTH113
        if answer.rewritten:
            seen.events.append(("rewritten", self.short(image)))
        if verdict is not None:
            seen.rows, seen.outlined = verdict.rows, verdict.outlined
        if seen.kept < 0:
            seen.events.append(self._reason(image, label, verdict, answer))
        elif verdict is not None:
            places = [("duplicate", line) for line in verdict.duplicates] + [
                ("flat", line) for line in verdict.flat
            ]
            seen.events += [(kind, f"{self.short(label)}:{line}") for kind, line in places]
        return seen

    def _classify(self, label: str) -> LabelVerdict:
        if not os.path.isfile(label):  # noqa: PTH113
            return LabelVerdict(rows=0)
        with open(label, encoding="utf-8-sig") as file:  # noqa: PTH123
            return classify_labels(file.read(), self.layout)

    def _verify_safely(self, image: str, label: str) -> ImageAnswer:
        """Return Ultralytics' verdict, taken on a copy if it would rewrite the file."""
        try:
            if not unfinished_jpeg(image):
                return self._call(image, label)
            handle, name = tempfile.mkstemp(suffix=Path(image).suffix, dir=self.work)
            os.close(handle)
            copy = Path(name)
            shutil.copyfile(image, copy)
        except OSError as err:
            return ImageAnswer(kept=-1, message=str(err), sound=False)
        before = copy.stat()
        try:
            answer, after = self._call(name, label), copy.stat()
            rewritten = (before.st_ino, before.st_mtime_ns) != (after.st_ino, after.st_mtime_ns)
            return replace(answer, message=answer.message.replace(name, image), rewritten=rewritten)
        finally:
            copy.unlink(missing_ok=True)

    def _call(self, image: str, label: str) -> ImageAnswer:
        layout = self.layout
        shape = (layout.keypoints, layout.dimensions)

        def verify(labels: str) -> tuple[int, str]:
            return self._verify(
                image, labels, pose=layout.pose, classes=layout.classes, kpt_shape=shape
            )

        kept, message = verify(label)
        sound = kept >= 0 or verify(os.devnull)[0] >= 0
        return ImageAnswer(kept=kept, message=message, sound=sound)

    def _reason(
        self, image: str, label: str, verdict: LabelVerdict | None, answer: ImageAnswer
    ) -> tuple[str, str]:
        """Return kind and location of what made Ultralytics ignore an image."""
        message = answer.message.rpartition("ignoring corrupt image/label: ")[2]
        if not answer.sound:
            unknown = "No module named" in message or "cannot identify" in message
            if unknown:
                message = (
                    "needs pip install pi-heif"
                    if Path(image).suffix.lower() in PLUGIN
                    else "unknown image format"
                )
            return "damaged", _place(self.short(image), message)
        if verdict is None:
            return "unreadable", _place(self.short(label), message)
        if verdict.fault:
            return verdict.fault, _place(f"{self.short(label)}:{verdict.line}", verdict.text)
        return "other", _place(self.short(image), message)


def _place(path: str, detail: str) -> str:
    """Return an example on one line: path, then the row or message."""
    width = max(LINE - len(path) - 2, 20)
    return f"{path}  {textwrap.shorten(detail, width, placeholder=' ...')}"


def _short(path: str, base: str) -> str:
    return os.path.relpath(path, base) if path.startswith(base + os.sep) else path
