"""Images of 16 bits that use few of them, so that a training sees black, or next to one level."""

from __future__ import annotations

from yolo_stability.data.check.checks._base import SplitCheck
from yolo_stability.data.check.dataset import Dataset, DataSplit
from yolo_stability.data.check.findings import DAMAGE, WARNING, Found
from yolo_stability.data.files import LABEL_TASKS

__all__ = ["Dark"]

BLACK, DIM = 32, 64
"""Number of levels of 256 that a training sees, below which content is lost, or dim."""
MOST = 0.5
"""Share of the split's deep images that must be affected: single dark images are no mistake."""


class Dark(SplitCheck):
    """Deep images of which a training sees few levels."""

    tasks = (*LABEL_TASKS, "classify")
    why = "whose 16 bits are mostly unused"

    def look(self, split: DataSplit, data: Dataset) -> Found | None:
        """Return the finding in one split, or None."""
        deep = [(i, image.levels) for i, image in enumerate(split.kept) if image.levels]
        dim = [(i, levels) for i, levels in deep if levels.lost and levels.seen < DIM]
        black = [(i, levels) for i, levels in dim if levels.seen < BLACK]
        chosen, severity = (black, DAMAGE) if len(black) > MOST * len(deep) else (dim, WARNING)
        if len(chosen) <= MOST * len(deep) or not chosen:
            return None
        seen = max(levels.seen for _, levels in chosen)
        low, high = min(v.low for _, v in chosen), max(v.high for _, v in chosen)
        real = any(levels.real for _, levels in chosen)
        keeps = "reads them as whole numbers of 8 bits" if real else "keeps the upper 8 of 16 bits"
        message = (
            f"Their values reach from {low:g} to {high:g}; Ultralytics {keeps}, so that at most "
            f"{seen} of 256 levels remain and the images are nearly uniform. Scale them to the "
            "full range, or convert them to 8 bits."
        )
        why = "whose floating-point values are cut" if real else self.why
        return self.of_images(split, [i for i, _ in chosen], severity, why=why, message=message)
