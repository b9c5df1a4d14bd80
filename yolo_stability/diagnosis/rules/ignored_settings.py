"""Settings that were requested but had no effect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from yolo_stability.core.findings import Finding
from yolo_stability.core.ignored_settings import ignored_settings
from yolo_stability.diagnosis.base import Rule
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import healthy_run
from yolo_stability.trace.arrays import RunSeries

__all__ = ["IgnoredSettings"]


@dataclass(frozen=True, kw_only=True)
class IgnoredSettings(Rule):
    """Settings that were given but had no effect.

    `optimizer=auto`, the default, chooses its own learning rate and momentum and ignores `lr0=` and
    `momentum=`, unless a trainer builds its optimizer itself. This is advice: the run itself is not
    called unstable for it.
    """

    sign: ClassVar[str] = "a setting without effect"
    unsettles: ClassVar[bool] = False

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Compare the requested with the effective settings."""
        if context.header is None:
            return
        requested, effective = context.header.requested, context.header.effective
        rows = (0, context.run.step.size)
        ignored = ignored_settings(requested, effective)
        if ignored:
            chosen = effective.get("optimizer", "its own")
            text = f"optimizer=auto ignored {' and '.join(ignored)} and chose {chosen}"
            remedy = "set an optimizer, such as optimizer=SGD"
            yield self.found("warning", text, context=context, rows=rows, remedy=remedy)
        for text in effective.get("warnings") or ():
            yield self.found("warning", str(text), context=context, rows=rows)

    @classmethod
    def example(cls) -> RunSeries:
        """Return any run: the rule reads its settings, here lr0=0.1 under optimizer=auto."""
        return healthy_run()
