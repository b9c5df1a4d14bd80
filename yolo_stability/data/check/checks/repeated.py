"""Images that occur more than once in a split, by content."""

from __future__ import annotations

from yolo_stability.data.check.checks._base import SplitCheck
from yolo_stability.data.check.dataset import Dataset, DataSplit, ImageFacts
from yolo_stability.data.check.findings import INFO, WARNING, Found
from yolo_stability.data.files import LABEL_TASKS

__all__ = ["Repeated"]


class Repeated(SplitCheck):
    """Copies of an image of the same split."""

    tasks = (*LABEL_TASKS, "classify")
    thing = ("copy", "copies")
    why = "of another image of the split"
    message = "They weigh more than other images, in training or in the metrics."
    unequal = (
        " {count} of them have other labels than their original, so that the same picture is "
        "trained with two answers: correct or remove one."
    )

    def look(self, split: DataSplit, data: Dataset) -> Found | None:
        """Return the finding in one split, or None."""
        groups = [[image for name, image in group if name == split.name] for group in data.equal]
        pairs = [(group[0], copy) for group in groups for copy in group[1:]]
        if not pairs:
            return None
        other = [copy for first, copy in pairs if _answer(first) != _answer(copy)]
        chosen = {id(copy) for copy in other or [copy for _, copy in pairs]}
        bad = [i for i, image in enumerate(split.kept) if id(image) in chosen]
        found = self.of_images(split, bad, WARNING if other else INFO)
        examples = [
            f"{split.short(copy.path)} = {split.short(first.path)}" for first, copy in pairs
        ]
        return self.found(
            split.name,
            found.severity,
            len(pairs),
            len(split.kept),
            examples,
            pictures=found.pictures,
            message=self.message + (self.unequal.format(count=len(other)) if other else ""),
        )


def _answer(image: ImageFacts) -> tuple[int, bytes]:
    """Return what an image is trained with: its class folder and its labels in any order."""
    order = sorted(range(len(image.table)), key=lambda i: image.table[i].tobytes())
    return image.group, image.table[order].tobytes()
