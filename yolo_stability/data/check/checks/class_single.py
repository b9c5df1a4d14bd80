"""One class that holds all labels, or nearly all, where several are named."""

from __future__ import annotations

import numpy as np

from yolo_stability.data.check.checks._base import SplitCheck
from yolo_stability.data.check.dataset import Dataset, DataSplit
from yolo_stability.data.check.findings import INFO, WARNING, Found

__all__ = ["ClassSingle"]

FEWEST = 20
"""Number of labels from which the shares of the classes mean anything."""
NEARLY = 0.98


class ClassSingle(SplitCheck):
    """One class with all labels of train although the data YAML names more."""

    thing = ("label", "labels")
    why = "of one class"
    message = (
        "The data YAML names {count} classes, but only class {number} ({name}) has {labels}: the "
        "others cannot be learned. Compare the class numbers of the label files with names."
    )

    def look(self, split: DataSplit, data: Dataset) -> Found | None:
        """Return the finding in train, or None."""
        total = len(split.classes)
        if split.name != "train" or len(data.names) < 2 or total < FEWEST:
            return None
        most = int(np.bincount(split.classes).argmax())
        count = int((split.classes == most).sum())
        if count < NEARLY * total:
            return None
        message = self.message.format(
            count=len(data.names),
            number=most,
            name=data.names.get(most, ""),
            labels="labels" if count == total else "more than a few labels",
        )
        severity = WARNING if count == total else INFO
        return self.found(
            split.name, severity, count, total, [f"class {most}: {count}"], message=message
        )
