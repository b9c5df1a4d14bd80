"""Classes with few labels in train."""

from __future__ import annotations

from collections import Counter
from statistics import median

from yolo_stability.data.check.checks._base import SplitCheck
from yolo_stability.data.check.dataset import Dataset, DataSplit
from yolo_stability.data.check.findings import INFO, Found

__all__ = ["ClassRare"]

FEW = 10
"""Number of labels below which a class is rare."""
SHARE = 0.1
"""Share of the median class below which it is rare: in a small set all classes have few labels."""


class ClassRare(SplitCheck):
    """Rare classes of train."""

    thing = ("class", "classes")
    why = "with few labels"
    message = "Next to the others they will hardly be learned, and their AP is uncertain."

    def look(self, split: DataSplit, data: Dataset) -> Found | None:
        """Return the finding in train, or None."""
        counts = Counter(split.classes.tolist())
        few = min(FEW, SHARE * median(counts.values())) if counts else 0
        rare = sorted((n, c) for c, n in counts.items() if n < few)
        if split.name != "train" or not rare:
            return None
        examples = [f"{c} {data.names.get(c, '')}: {n}" for n, c in rare]
        return self.found(split.name, INFO, len(rare), len(counts), examples)
