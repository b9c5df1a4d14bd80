"""Class folders of a classification set without a usable image in train."""

from __future__ import annotations

from collections.abc import Iterator

from yolo_stability.data.check.checks._base import DataCheck
from yolo_stability.data.check.dataset import Dataset, DataSplit
from yolo_stability.data.check.findings import DAMAGE, WARNING, Found

__all__ = ["FolderEmpty"]


class FolderEmpty(DataCheck):
    """Empty class folders of train."""

    tasks = ("classify",)
    thing = ("class folder", "class folders")
    why = "without an image"
    message = "The model gets an output for each, which is never trained."
    measured = " {count} of them have images in val, all of which are measured as errors."

    def find(self, data: Dataset) -> Iterator[Found]:
        """Yield the finding, if train has empty class folders."""
        train, val = data.splits["train"], data.splits.get("val")
        full = _full(train)
        empty = [name for name in train.folders if name not in full]
        if not empty:
            return
        wrong = len(set(empty) & _full(val)) if val else 0
        yield self.found(
            "train",
            DAMAGE if wrong else WARNING,
            len(empty),
            len(train.folders),
            [f"{train.short(train.places[0])}/{name}" for name in empty],
            message=self.message + (self.measured.format(count=wrong) if wrong else ""),
        )


def _full(split: DataSplit) -> set[str]:
    """Return the class folders with at least one usable image."""
    return {split.folders[image.group] for image in split.kept}
