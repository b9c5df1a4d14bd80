"""Classes of the data YAML without a label in a split."""

from __future__ import annotations

from collections import Counter

from yolo_stability.data.check.checks._base import SplitCheck
from yolo_stability.data.check.dataset import Dataset, DataSplit
from yolo_stability.data.check.findings import INFO, WARNING, Found

__all__ = ["ClassMissing"]

FEWEST = 20
"""Number of labels of train from which a class without any is worth a line."""
EXPECTED = 5
"""Number of labels that val would hold of a class of train if drawn from the same images."""


class ClassMissing(SplitCheck):
    """Named classes without a label in train, and frequent classes of train without one in val."""

    thing = ("class", "classes")
    why = "without a label"
    untrained = "{count} of them occur in val: never trained, their AP of 0 counts in mAP."
    unused = "They are named in the data YAML, but cannot be learned."
    unmeasured = "They are frequent in train, but their AP is not measured and not part of mAP."

    def look(self, split: DataSplit, data: Dataset) -> Found | None:
        """Return the finding in one split, or None."""
        train, val = _counts(data.splits.get("train")), _counts(data.splits.get("val"))
        if split.name == "train":
            return self._in_train(data, train, val)
        share = val.total() / max(train.total(), 1)
        missing = [c for c in sorted(train) if not val[c] and train[c] * share >= EXPECTED]
        return self._found(data, split.name, missing, len(train), INFO, self.unmeasured)

    def _in_train(self, data: Dataset, train: Counter[int], val: Counter[int]) -> Found | None:
        missing = sorted((c for c in data.names if not train[c]), key=lambda c: not val[c])
        lost = sum(val[c] > 0 for c in missing)
        if not train or (not lost and train.total() < FEWEST):
            return None
        message = self.untrained.format(count=lost) if lost else self.unused
        severity = WARNING if lost else INFO
        return self._found(data, "train", missing, len(data.names), severity, message)

    def _found(
        self, data: Dataset, split: str, missing: list[int], of: int, severity: str, message: str
    ) -> Found | None:
        names = [f"{c} {data.names.get(c, '')}".rstrip() for c in missing]
        if not names:
            return None
        return self.found(split, severity, len(names), of, names, message=message)


def _counts(split: DataSplit | None) -> Counter[int]:
    return Counter(() if split is None else split.classes.tolist())
