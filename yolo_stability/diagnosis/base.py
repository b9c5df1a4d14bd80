"""What a rule is: a pure function from a run to findings, with its thresholds as fields.

Each file in `rules/` is one rule. A rule is causal: what it says about a step rests on that step and those before it,
so that it says the same during the run and afterwards. It is silent where it has too little to go by.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from yolo_stability.core.findings import Finding
from yolo_stability.core.registry import entry_name
from yolo_stability.core.types import Severity
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.trace.arrays import RunSeries

__all__ = ["USUAL_RATE", "Rule"]

USUAL_RATE = "a usual learning rate (lr_mult=1; optimizer=AdamW lr0=0.002 or SGD lr0=0.01)"
"""Where to go back to; `auto` ignores `lr0`. A tenth of a hundredfold rate saves nothing (`suite=remedies`)."""


class Rule(ABC):
    """One kind of trouble; a subclass in its own file, a frozen dataclass of thresholds, is all that a new one takes.

    Attributes:
        unsettles: Whether a warning of this rule means that the run is not stable; advice does not.
    """

    unsettles: ClassVar[bool] = True

    @abstractmethod
    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Yield what is wrong.

        Args:
            context: The run, with at least one step.
        """

    @classmethod
    @abstractmethod
    def example(cls) -> RunSeries:
        """Return a run on which the rule fires, for the contract test; `series_examples` builds them."""

    @classmethod
    def name(cls) -> str:
        """Return its name: that of its file, or of its entry point."""
        return entry_name(cls)

    def found(
        self,
        severity: Severity,
        message: str,
        *,
        context: DiagnosisContext,
        rows: tuple[int, int],
        block: str | None = None,
        observed: float | None = None,
        threshold: float | None = None,
        remedy: str = "",
    ) -> Finding:
        """Return a finding of this rule.

        Args:
            severity: How bad it is.
            message: What was seen.
            context: The run.
            rows: First position concerned, and the one after the last.
            block: Block concerned.
            observed: The number that was seen.
            threshold: What it was held against.
            remedy: What to try.
        """
        first, last = rows
        return Finding(
            rule=self.name(),
            severity=severity,
            message=message,
            block=block,
            first_step=context.step_at(first),
            last_step=context.step_at(max(first, last - 1)),
            observed=observed,
            threshold=threshold,
            remedy=remedy,
        )
