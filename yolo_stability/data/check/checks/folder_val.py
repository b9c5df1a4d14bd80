"""Classification sets whose val has other class folders than train."""

from __future__ import annotations

from collections.abc import Iterator

from yolo_stability.data.check.checks._base import DataCheck
from yolo_stability.data.check.dataset import Dataset
from yolo_stability.data.check.findings import DAMAGE, WARNING, Found

__all__ = ["FolderVal"]


class FolderVal(DataCheck):
    """Classes that are in one of the splits only."""

    tasks = ("classify",)
    thing = ("class", "classes")
    none = "There is no image in val (or validation, valid, test): Ultralytics cannot measure."
    extra = (
        "Ultralytics skips their images, or, where no name is the same, numbers the folders of val "
        "by themselves and measures wrong classes. Name the folders of val like those of train."
    )
    lacking = "They are trained but not measured: accuracy is that of the other classes."
    shifted = (
        "This version of Ultralytics numbers the folders of val by themselves, so that the classes "
        "after a missing folder are measured as others. Add the folders."
    )

    def find(self, data: Dataset) -> Iterator[Found]:
        """Yield the finding, if the splits differ in their classes."""
        from yolo_stability.compat.images import aligns_classes

        train, val = data.splits["train"], data.splits.get("val")
        if val is None or not val.kept:
            why = "that cannot be measured"
            yield self.found(
                "val",
                DAMAGE,
                len(train.folders),
                len(train.folders),
                [],
                why=why,
                message=self.none,
            )
            return
        trained = {train.folders[image.group] for image in train.kept}
        measured = {val.folders[image.group] for image in val.kept}
        if extra := sorted(measured - set(train.folders)):
            examples = [f"{val.short(val.places[0])}/{name}" for name in extra]
            why = "of val that train lacks"
            yield self.found(
                "val", DAMAGE, len(extra), len(val.folders), examples, why=why, message=self.extra
            )
        elif lacking := sorted(trained - measured):
            shifted = not aligns_classes() and any(name not in val.folders for name in lacking)
            yield self.found(
                "val",
                DAMAGE if shifted else WARNING,
                len(lacking),
                len(trained),
                [f"{val.short(val.places[0])}/{name}" for name in lacking],
                why="of train without an image in val",
                message=self.shifted if shifted else self.lacking,
            )
