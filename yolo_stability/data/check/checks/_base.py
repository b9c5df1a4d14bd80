"""Base of all checks: a file of this folder defines one subclass, and needs no other edit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from yolo_stability.core.registry import entry_name
from yolo_stability.data.check.dataset import Dataset, DataSplit, ImageFacts
from yolo_stability.data.check.findings import DAMAGE, INFO, WARNING, Found, LabelRow, ShownImage
from yolo_stability.data.coco.import_report import EXAMPLES
from yolo_stability.data.files import LABEL_TASKS, label_file

__all__ = ["BOX", "IMAGE", "DataCheck", "Indices", "SplitCheck", "graded"]

BOX, IMAGE = ("box", "boxes"), ("image", "images")
PICTURES = 6
"""Maximum number of pictures of a finding on the page."""

Indices = Sequence[int] | NDArray[np.intp]


def graded(count: int, of: int, damage: float, warning: float) -> str:
    """Return the severity of a count by its share.

    Args:
        count: Number of occurrences.
        of: Number of examined items.
        damage: Share from which it is damage.
        warning: Share from which it is a warning.

    Example:
        >>> graded(5, 100, damage=0.02, warning=0.001)
        'damage'
        >>> graded(1, 10000, damage=0.02, warning=0.001)
        'info'
    """
    share = count / max(of, 1)
    return DAMAGE if share >= damage else WARNING if share >= warning else INFO


class DataCheck(ABC):
    """One kind of finding, named after its file.

    Subclass `SplitCheck` for what each split shows by itself, and this class for what only the
    whole dataset shows. Report at most one finding per split.

    Attributes:
        tasks: Tasks in which it applies.
        thing: Counted item, as singular and plural.
        why: What is wrong with the item, to follow its noun.
        message: What it does to a training, and how to fix it.
    """

    tasks: ClassVar[tuple[str, ...]] = LABEL_TASKS
    thing: ClassVar[tuple[str, str]] = IMAGE
    why: ClassVar[str] = ""
    message: ClassVar[str] = ""

    @abstractmethod
    def find(self, data: Dataset) -> Iterator[Found]:
        """Yield the findings in a dataset.

        Args:
            data: Contents of the dataset.
        """

    def found(
        self, split: str, severity: str, count: int, of: int, examples: Sequence[str], **more: Any
    ) -> Found:
        """Return a finding of this kind.

        Args:
            split: train or val; `all` for the dataset as a whole.
            severity: info, warning or damage.
            count: Number of occurrences.
            of: Number of examined items.
            examples: Locations, of which the first are reported.
            **more: `thing`, `why`, `message` where they differ from those of the class; `pictures`.
        """
        texts = {"thing": self.thing, "why": self.why, "message": self.message} | more
        return Found(
            split=split,
            kind=entry_name(type(self)),
            severity=severity,
            count=count,
            of=of,
            examples=tuple(examples[:EXAMPLES]),
            **texts,
        )

    def of_boxes(
        self, split: DataSplit, bad: NDArray[np.bool_], severity: str, **more: Any
    ) -> Found:
        """Return a finding about boxes.

        Args:
            split: The split.
            bad: Which of its boxes it is about, shape (boxes,).
            severity: info, warning or damage.
            **more: Texts that differ from those of the class.
        """
        hits = np.flatnonzero(bad)
        examples = [split.place(int(i)) for i in _spread(hits)[:EXAMPLES]]
        owners = np.unique(split.owner[hits])
        pictures = [_picture(split.kept[int(i)], bad[split.owner == i]) for i in _spread(owners)]
        return self.found(
            split.name, severity, len(hits), len(bad), examples, pictures=tuple(pictures), **more
        )

    def of_images(
        self, split: DataSplit, bad: Indices, severity: str, *, labels: bool = False, **more: Any
    ) -> Found:
        """Return a finding about images.

        Args:
            split: The split.
            bad: Indices into `split.kept`.
            severity: info, warning or damage.
            labels: Whether the examples are label files instead of images.
            **more: Texts that differ from those of the class.
        """
        chosen = [split.kept[int(i)] for i in bad]
        places = [split.short(label_file(c.path) if labels else c.path) for c in chosen[:EXAMPLES]]
        pictures = tuple(_picture(image) for image in _spread(chosen))
        return self.found(
            split.name, severity, len(chosen), len(split.kept), places, pictures=pictures, **more
        )


class SplitCheck(DataCheck):
    """A check that looks at one split at a time.

    Example:
        >>> class Empty(SplitCheck):
        ...     thing, why = IMAGE, "without a label"
        ...     message = "Ultralytics trains them as background."
        ...
        ...     def look(self, split, data):
        ...         bare = [i for i, image in enumerate(split.kept) if not len(image.table)]
        ...         return self.of_images(split, bare, "info") if bare else None
    """

    def find(self, data: Dataset) -> Iterator[Found]:
        """Yield the findings in a dataset.

        Args:
            data: Contents of the dataset.
        """
        for split in data.splits.values():
            found = self.look(split, data)
            if found is not None:
                yield found

    @abstractmethod
    def look(self, split: DataSplit, data: Dataset) -> Found | None:
        """Return the finding in one split, or None.

        Args:
            split: Images and boxes of the split.
            data: Contents of the whole dataset.
        """


def _spread(items: Any) -> Any:
    """Return some of the items, evenly from first to last."""
    if len(items) <= PICTURES:
        return items
    chosen = [round(i * (len(items) - 1) / (PICTURES - 1)) for i in range(PICTURES)]
    return [items[i] for i in chosen]


def _picture(image: ImageFacts, marked: NDArray[np.bool_] | None = None) -> ShownImage:
    rows = []
    for i, row in enumerate(image.table[:200]):
        x, y, w, h = (float(v) for v in row[1:5])
        rows.append(LabelRow((x, y, w, h), marked=marked is not None and bool(marked[i])))
    return ShownImage(image.path, tuple(rows))
