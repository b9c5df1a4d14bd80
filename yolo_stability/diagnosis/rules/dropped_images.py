"""Images that Ultralytics excluded because a label or the file is broken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from yolo_stability.core.findings import Finding
from yolo_stability.core.text import count
from yolo_stability.diagnosis.base import Rule
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import healthy_run
from yolo_stability.trace.arrays import RunSeries

__all__ = ["DroppedImages"]


@dataclass(frozen=True, kw_only=True)
class DroppedImages(Rule):
    """Images of the training set that Ultralytics left unused, because a label or file is broken.

    One bad number in a label file excludes the whole image. This is advice: the run itself is not
    called unstable for it.

    Attributes:
        many: Share of the images above which the advice is a warning. Single broken files are
            common; more than one in twenty points to a mistake in how labels were written.
    """

    sign: ClassVar[str] = "ignored images"
    unsettles: ClassVar[bool] = False
    many: float = 0.05

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Compare the number of listed images with that of used images."""
        effective = {} if context.header is None else context.header.effective
        listed, used = effective.get("images_listed"), effective.get("images")
        if not isinstance(listed, int) or not isinstance(used, int) or used >= listed:
            return
        share = (listed - used) / listed
        yield self.found(
            "warning" if share > self.many else "info",
            f"{count(listed - used, 'image')} of {listed} in the train set were not used",
            context=context,
            rows=(0, context.run.step.size),
            observed=share,
            threshold=self.many,
            remedy="'yolo-stability data check' lists each with the reason",
        )

    @classmethod
    def example(cls) -> RunSeries:
        """Return any run: the rule reads its settings, here 90 of 100 images in use."""
        return healthy_run()
