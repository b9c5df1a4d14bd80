"""Base class of rules: a rule maps a run to findings and has its thresholds as fields.

Each file in `rules/` is one rule. A rule is causal: its result for a step depends only on that step
and those before it, so that it is the same during and after the run. A rule without enough data
returns nothing.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from yolo_stability.core.docstrings import prose_of
from yolo_stability.core.findings import Finding
from yolo_stability.core.registry import entry_name
from yolo_stability.core.types import CauseName, Severity
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.trace.arrays import RunSeries

__all__ = ["USUAL_RATE", "Rule"]

USUAL_RATE = "a usual learning rate (lr_mult=1; optimizer=AdamW lr0=0.002 or SGD lr0=0.01)"
"""Advice for a learning rate; `auto` ignores `lr0`, so an optimizer is part of it."""


class Rule(ABC):
    """Base class of rules; a new rule is a frozen dataclass of thresholds in its own file.

    Its docstring is what `yolo-stability explain` and the documentation print: the first line is
    what the rule sees, the attributes what each threshold means and why it has its value.

    Attributes:
        sign: What the rule finds, as a phrase with its article, such as `a gradient spike`.
        supports: Causes that a finding of the rule points to.
        drawn: Series of the example that its picture shows: a field of `RunSeries` or of the
            context, `losses/NAME`, `rates/NAME` or `epochs/COLUMN`; if empty, the first one in
            which the example differs from a healthy run.
        unsettles: Whether a warning of this rule means that the run is not stable, as opposed to
            advice.

    Example:
        >>> from dataclasses import dataclass
        >>> from yolo_stability.diagnosis.examples import healthy_run, with_rows
        >>> @dataclass(frozen=True, kw_only=True)
        ... class HighLoss(Rule):
        ...     limit: float = 100.0
        ...
        ...     def look(self, context):
        ...         for row in (context.run.loss > self.limit).nonzero()[0]:
        ...             text = f"the loss is above {self.limit:g}"
        ...             yield self.found("warning", text, context=context, rows=(row, row + 1))
        ...
        ...     @classmethod
        ...     def example(cls):
        ...         return with_rows(healthy_run(), slice(10, 11), loss=500.0)
        >>> [found.first_step for found in HighLoss().look(DiagnosisContext(HighLoss.example()))]
        [10]
    """

    sign: ClassVar[str] = ""
    supports: ClassVar[tuple[CauseName, ...]] = ()
    drawn: ClassVar[str] = ""
    unsettles: ClassVar[bool] = True

    @abstractmethod
    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Yield findings about a run.

        Args:
            context: The run, with at least one step.
        """

    @classmethod
    @abstractmethod
    def example(cls) -> RunSeries:
        """Return a run on which the rule fires, for the contract test; see `examples.py`."""

    @classmethod
    def name(cls) -> str:
        """Return the name of the rule: that of its file, or of its entry point."""
        return entry_name(cls)

    @classmethod
    def prose(cls) -> list[str]:
        """Return the paragraphs that describe the rule; the first one is what it sees.

        They are those of its docstring, else of its module: a dataclass without a docstring has its
        signature in that place.
        """
        own = vars(cls).get("__doc__") or ""
        if not own or own.startswith(f"{cls.__name__}("):
            own = getattr(sys.modules.get(cls.__module__), "__doc__", None) or ""
        return prose_of(own)

    @classmethod
    def phrase(cls) -> str:
        """Return `sign`, else the first sentence of the description."""
        first = next(iter(cls.prose()), cls.name())
        return cls.sign or first.partition(". ")[0].removesuffix(".")

    def found(  # noqa: PLR0913 - the fields of a finding
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
        column: str | None = None,
        epochs: tuple[int, int] | None = None,
        images: tuple[str, ...] = (),
    ) -> Finding:
        """Create a finding of this rule.

        Args:
            severity: Severity of the finding.
            message: Observation in one sentence.
            context: The run.
            rows: First affected position, and the one after the last.
            block: Affected block.
            observed: Observed value.
            threshold: Threshold that it exceeds.
            remedy: Suggested remedy.
            column: Affected column of `results.csv`.
            epochs: First and last affected epoch, counted from 0; the finding counts from 1.
            images: File names of affected images.
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
            column=column,
            first_epoch=None if epochs is None else epochs[0] + 1,
            last_epoch=None if epochs is None else epochs[1] + 1,
            images=images,
        )
