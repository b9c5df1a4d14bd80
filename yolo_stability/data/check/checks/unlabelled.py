"""Splits none of whose images has a label file."""

from __future__ import annotations

from yolo_stability.data.check.checks._base import SplitCheck
from yolo_stability.data.check.checks._label_folders import likely_folder
from yolo_stability.data.check.dataset import Dataset, DataSplit
from yolo_stability.data.check.findings import DAMAGE, Found
from yolo_stability.data.files import label_file

__all__ = ["Unlabelled"]


class Unlabelled(SplitCheck):
    """A split without label files, and the folder that probably holds them."""

    why = "without a label file"
    effects = {  # noqa: RUF012 - read only
        "train": "Ultralytics refuses to train: it finds no label.",
        "val": "Nothing can be measured: all metrics stay 0, and best.pt is no choice.",
    }

    def look(self, split: DataSplit, data: Dataset) -> Found | None:
        """Return the finding in one split, or None."""
        if not split.kept or any(image.labeled for image in split.kept):
            return None
        expected = label_file(split.images[0].path)
        examples = [f"{split.short(expected)} does not exist"]
        message = f"{self.effects.get(split.name, '')} Labels are expected as in the example."
        if (likely := likely_folder(split, data)) is not None:
            files = f"{likely.count} files named like the images"
            examples.append(f"{split.short(likely.folder)} holds {files}")
            message = f"{self.effects.get(split.name, '')} {likely.advice(split)}"
        return self.found(
            split.name, DAMAGE, len(split.images), len(split.images), examples, message=message
        )
