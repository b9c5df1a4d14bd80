"""Images of val that are also images of train, by content."""

from __future__ import annotations

from collections.abc import Iterator

from yolo_stability.data.check.checks._base import DataCheck, graded
from yolo_stability.data.check.dataset import Dataset
from yolo_stability.data.check.findings import WARNING, Found
from yolo_stability.data.files import LABEL_TASKS

__all__ = ["Leak"]

DAMAGE_SHARE = 0.01
"""Share of val."""


class Leak(DataCheck):
    """Images of val with the content of an image of train; once if both are one folder."""

    tasks = (*LABEL_TASKS, "classify")
    why = "that is also in train"
    message = (
        "The model is measured on what it was trained on: metrics are too high and early stopping "
        "and best.pt follow them. Remove them from one of the splits."
    )
    one_folder = (
        "As in coco8 and coco128, train and val are the same images: metrics show what was "
        "memorized, not what was learned."
    )

    def find(self, data: Dataset) -> Iterator[Found]:
        """Yield the finding, if the splits share images."""
        val = data.splits.get("val")
        if val is None or "train" not in data.splits:
            return
        if data.one_folder:
            yield self.found(
                "all",
                WARNING,
                len(val.images),
                len(val.images),
                list(dict.fromkeys(map(val.short, val.places))),
                why="that are both train and val",
                message=self.one_folder,
            )
            return
        shared: dict[str, str] = {}
        for group in data.equal:
            train = [image for split, image in group if split == "train"]
            if train:
                shared |= {image.path: train[0].path for split, image in group if split == "val"}
        if not shared:
            return
        bad = [i for i, image in enumerate(val.kept) if image.path in shared]
        found = self.of_images(val, bad, graded(len(bad), len(val.kept), DAMAGE_SHARE, 0))
        examples = [
            f"{val.short(val.kept[i].path)} = {val.short(shared[val.kept[i].path])}" for i in bad
        ]
        yield self.found(
            "val",
            found.severity,
            found.count,
            found.of,
            examples,
            pictures=found.pictures,
            why=self.why if len(bad) == 1 else "that are also in train",
        )
