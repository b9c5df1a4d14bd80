"""Scan of single images: Ultralytics' own verdict, with the reason and the location added."""

from __future__ import annotations

import os
import shutil
import tempfile
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from yolo_stability.data.check.dataset import ImageFacts, relative
from yolo_stability.data.check.labels import LabelVerdict, Layout, classify_labels
from yolo_stability.data.check.levels import HEAD, is_deep, read_levels
from yolo_stability.data.files import label_file, unfinished_jpeg

__all__ = [
    "ImageAnswer",
    "ScannedImage",
    "Scanner",
    "describe_file",
    "image_fault",
    "on_copy",
    "place",
]

LINE = 74
"""Maximum length of an example in characters, unless its path is longer."""
PLUGIN = {".heic", ".heif"}
"""Suffixes that Ultralytics opens with a package it installs on first use."""
COMPLAINT = "ignoring corrupt image/label: "

T = TypeVar("T")


@dataclass(slots=True)
class ScannedImage:
    """Scan result of one image.

    Attributes:
        rows: Rows of its label file.
        kept: Number of labels kept; -1 if the image is ignored.
        events: Kind and location of each finding.
        facts: What the checks of the contents need to know.
    """

    facts: ImageFacts
    rows: int = 0
    kept: int = -1
    events: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageAnswer:
    """Ultralytics' verdict on one image.

    Attributes:
        kept: Number of labels kept; -1 if the image is ignored.
        message: Ultralytics' message.
        rewritten: Whether it would rewrite the file.
        sound: Whether the image alone is accepted.
        size: Width and height in pixels; (0, 0) if the image is ignored.
    """

    kept: int
    message: str
    size: tuple[int, int] = (0, 0)
    rewritten: bool = False
    sound: bool = True


class Scanner:
    """Scanner of single images; safe to use from several threads.

    Args:
        layout: Expected layout of label rows.
        work: Empty folder for copies of JPEGs that Ultralytics would rewrite.
        base: Folder of the dataset; examples are shown relative to it.
        channels: `channels` of the data YAML.
    """

    def __init__(self, layout: Layout, work: Path, base: str, channels: int = 3) -> None:
        from yolo_stability.compat.ultralytics import scan_label

        self._verify = scan_label
        self.layout, self.work, self.base, self.channels = layout, work, base, channels

    def short(self, path: str) -> str:
        """Return a path relative to the dataset, as shown in examples."""
        return relative(path, self.base)

    def scan(self, image: str) -> ScannedImage:
        """Return what Ultralytics would do with an image, and why."""
        facts = ImageFacts(path=image, kept=False)
        seen = ScannedImage(facts)
        if not os.path.isfile(image):  # noqa: PTH113 - pathlib raises on odd names
            seen.events.append(("missing", self.short(image)))
            return seen
        label = label_file(image)
        try:
            verdict: LabelVerdict | None = self._classify(label)
        except (OSError, UnicodeDecodeError):
            verdict = None
        answer = self._verify_safely(image, label)
        seen.kept, facts.kept, facts.size = answer.kept, answer.kept >= 0, answer.size
        facts.labeled = answer.sound and os.path.isfile(label)  # noqa: PTH113
        if answer.rewritten:
            seen.events.append(("rewritten", self.short(image)))
        if verdict is not None:
            seen.rows = verdict.rows
        if not facts.kept:
            kind, where = self._reason(image, label, verdict, answer)
            seen.events.append((kind, where))
            facts.fault = kind
            facts.columns = len(verdict.text.split()) if verdict else 0
        else:
            self._describe(facts, verdict)
            lines = verdict.duplicates if verdict else ()
            seen.events += [("duplicate", f"{self.short(label)}:{line}") for line in lines]
        return seen

    def _describe(self, facts: ImageFacts, verdict: LabelVerdict | None) -> None:
        """Add what the checks need to know of an image that is kept."""
        if verdict is not None and not verdict.fault:
            facts.table, facts.lines = verdict.table, verdict.lines
            facts.outlined = verdict.outlined
        describe_file(facts, self.channels)

    def _classify(self, label: str) -> LabelVerdict:
        if not os.path.isfile(label):  # noqa: PTH113
            return LabelVerdict(rows=0)
        with open(label, encoding="utf-8-sig") as file:  # noqa: PTH123
            return classify_labels(file.read(), self.layout)

    def _verify_safely(self, image: str, label: str) -> ImageAnswer:
        """Return Ultralytics' verdict, taken on a copy if it would rewrite the file."""
        try:
            answer, name, rewritten = on_copy(
                image, self.work, lambda name: self._call(name, label)
            )
        except OSError as err:
            return ImageAnswer(kept=-1, message=str(err), sound=False)
        return replace(answer, message=answer.message.replace(name, image), rewritten=rewritten)

    def _call(self, image: str, label: str) -> ImageAnswer:
        layout = self.layout
        shape = (layout.keypoints, layout.dimensions)

        def verify(labels: str) -> tuple[int, str, tuple[int, int]]:
            return self._verify(
                image, labels, pose=layout.pose, classes=layout.classes, kpt_shape=shape
            )

        kept, message, size = verify(label)
        sound = kept >= 0 or verify(os.devnull)[0] >= 0
        return ImageAnswer(kept=kept, message=message, sound=sound, size=size)

    def _reason(
        self, image: str, label: str, verdict: LabelVerdict | None, answer: ImageAnswer
    ) -> tuple[str, str]:
        """Return kind and location of what made Ultralytics ignore an image."""
        if not answer.sound:
            return "damaged", place(self.short(image), image_fault(image, answer.message))
        message = answer.message.rpartition(COMPLAINT)[2]
        if verdict is None:
            return "unreadable", place(self.short(label), message)
        if verdict.fault:
            return verdict.fault, place(f"{self.short(label)}:{verdict.line}", verdict.text)
        return "other", place(self.short(image), message)


def on_copy(image: str, work: Path, verify: Callable[[str], T]) -> tuple[T, str, bool]:
    """Verify an image, on a copy if Ultralytics would rewrite it.

    Args:
        image: Path of the image.
        work: Folder for copies.
        verify: Function of the path of the image or its copy.

    Returns:
        The result of `verify`, the path that it received, and whether it rewrote the copy.

    Raises:
        OSError: The image cannot be read.
    """
    if not unfinished_jpeg(image):
        return verify(image), image, False
    handle, name = tempfile.mkstemp(suffix=Path(image).suffix, dir=work)
    os.close(handle)
    copy = Path(name)
    try:
        shutil.copyfile(image, copy)
        before = copy.stat()
        answer, after = verify(name), copy.stat()
        rewritten = (before.st_ino, before.st_mtime_ns) != (after.st_ino, after.st_mtime_ns)
        return answer, name, rewritten
    finally:
        copy.unlink(missing_ok=True)


def image_fault(image: str, message: str) -> str:
    """Return why an image cannot be read, from Ultralytics' message."""
    reason = message.rpartition(COMPLAINT)[2]
    if "No module named" in reason or "cannot identify" in reason:
        plugin = Path(image).suffix.lower() in PLUGIN
        return "needs pip install pi-heif" if plugin else "unknown image format"
    return reason


def place(path: str, detail: str) -> str:
    """Return an example on one line: path, then the row or message."""
    width = max(LINE - len(path) - 2, 20)
    return f"{path}  {textwrap.shorten(detail, width, placeholder=' ...')}"


def describe_file(facts: ImageFacts, channels: int) -> None:
    """Add size and gray levels of the file of an image.

    Args:
        facts: The image.
        channels: `channels` of the data YAML.
    """
    try:
        with open(facts.path, "rb") as file:  # noqa: PTH123 - called for every image
            head = file.read(HEAD)
            facts.bytes = os.fstat(file.fileno()).st_size
    except OSError:
        return
    if is_deep(head):
        facts.levels = read_levels(facts.path, channels)
