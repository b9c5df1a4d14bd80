"""Model inputs outside the range that the model was built for, or that change during the run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from yolo_stability.core.findings import Finding
from yolo_stability.core.text import brief
from yolo_stability.core.types import Severity
from yolo_stability.diagnosis.base import Rule
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import healthy_run
from yolo_stability.diagnosis.rolling import ratio_of, spans, usual_before
from yolo_stability.trace.arrays import Bools, Floats, RunSeries

__all__ = ["InputRange"]

_REMEDY = (
    "give the model values from 0 to 1: check the code that loads, normalizes or preprocesses "
    "images, which Ultralytics divides by 255 itself"
)


@dataclass(frozen=True, kw_only=True)
class InputRange(Rule):
    """Critical if whole batches are far too bright, too dark or constant; else a warning.

    Ultralytics divides pixels by 255, so that inputs are from 0 to 1. Classification may be
    normalized with a mean and a standard deviation, which gives values from about -3 to 3. One
    batch out of range is a warning, since a single image may cause it; several in a row are
    critical, since only code does that. Dark scenes and thermal images are far above `dark`, whose
    values are the two lowest of 256.

    Attributes:
        bright: Maximum of a batch above which it was not divided by 255 (values up to 1 are usual,
            and augmentation may exceed them a little).
        normalized: The same for classification, and the magnitude up to which values below 0 are a
            normalization: ImageNet's reaches 2.7, and that of a dark gray channel rarely 10.
        negative: Minimum of a batch below which it has negative values.
        dark: Maximum of a batch below which it was divided by 255 twice; the images of a batch
            have hardly ever nothing above 1.5 of 255 levels.
        flat: Standard deviation below which a batch is constant.
        changed: Growth or reduction of the standard deviation within the run; multi-scale, mosaic
            and its end change it by less than 2.
        window: Samples whose median is the level that a change is compared with.
        lasting: Consecutive samples that are critical, of which one is taken at least every fourth
            step: with one image per batch, a few in a row may be blank by chance.
        several: Consecutive samples that are a warning; of batches that are too bright, those that
            are critical, since no image in its file exceeds 255.
    """

    bright: float = 2.0
    normalized: float = 10.0
    negative: float = -0.01
    dark: float = 1.5 / 255
    flat: float = 1e-6
    changed: float = 8.0
    window: int = 32
    lasting: int = 8
    several: int = 4

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Check the sampled batches for each kind of fault, and report the first critical one."""
        rows = np.flatnonzero(np.isfinite(context.run.input_std) | _infinite(context.run))
        if not rows.size:
            return
        found = list(self._found(context, rows))
        critical = [f for f in found if f.severity == "critical"]
        yield from (critical or found)[:1]

    def _found(
        self, context: DiagnosisContext, rows: np.ndarray[tuple[int], np.dtype[np.intp]]
    ) -> Iterator[Finding]:
        """Yield one finding for each kind of fault, in order of certainty."""
        run = context.run
        low, high, spread = (
            values[rows] for values in (run.input_min, run.input_max, run.input_std)
        )
        task = context.header.effective.get("task") if context.header else None
        with np.errstate(invalid="ignore"):
            tall = np.maximum(high, -low)
            below = low < self.negative
            free = below | (task == "classify")
            bright = np.where(free, tall > self.normalized, high > self.bright) & ~np.isnan(tall)
            flat = spread < self.flat
            dark = (high < self.dark) & (high > 0) & ~flat & ~below
            odd = below & ~bright & (task not in {None, "classify"})
        kinds: tuple[tuple[Bools, Floats, float, int, int, str], ...] = (
            (
                bright,
                tall,
                self.bright,
                1,
                self.several,
                "reached {}: they were not divided by 255",
            ),
            (
                dark,
                high,
                self.dark,
                self.several,
                self.lasting,
                "were at most {}: they were divided by 255 more than once",
            ),
            (
                flat,
                spread,
                self.flat,
                self.several,
                self.lasting,
                "were all the same: the images hold nothing",
            ),
            (
                odd,
                low,
                self.negative,
                self.several,
                0,
                "fell to {}: values below 0 are unusual for this task",
            ),
        )
        for flags, values, limit, few, many, text in kinds:
            for severity, length in _lengths(many, few):
                span = next(spans(flags, length), None) if length else None
                if span is not None:
                    yield self._report(context, severity, rows, span, length, values, limit, text)
                    break
        yield from self._changes(context, rows, spread)

    def _changes(
        self,
        context: DiagnosisContext,
        rows: np.ndarray[tuple[int], np.dtype[np.intp]],
        spread: Floats,
    ) -> Iterator[Finding]:
        """Yield a finding if the spread of the values leaves its own level for good."""
        level = ratio_of(spread, usual_before(spread, self.window, self.lasting))
        with np.errstate(invalid="ignore"):
            left = (level > self.changed) | (level < 1 / self.changed)
        for severity, length in _lengths(self.lasting, self.several):
            span = next(spans(left, length), None)
            if span is not None:
                text = "changed their spread by a factor of {} within the run"
                yield self._report(context, severity, rows, span, length, level, self.changed, text)
                return

    def _report(
        self,
        context: DiagnosisContext,
        severity: Severity,
        rows: np.ndarray[tuple[int], np.dtype[np.intp]],
        span: tuple[int, int],
        length: int,
        values: Floats,
        limit: float,
        text: str,
    ) -> Finding:
        """Return a finding about a span of samples."""
        first, end = int(rows[span[0]]), int(rows[span[1] - 1]) + 1
        observed = float(values[span[0]])
        shown = brief(observed) if np.isfinite(observed) else "infinity"
        when = (
            f"from step {context.step_at(first)} on"
            if length > 1
            else f"at step {context.step_at(first)}"
        )
        return self.found(
            severity,
            f"{when} the input values of the model {text.format(shown)}",
            context=context,
            rows=(first, end),
            observed=observed if np.isfinite(observed) else None,
            threshold=limit,
            remedy=_REMEDY,
        )

    @classmethod
    def example(cls) -> RunSeries:
        """Return a run whose images are multiplied by 255 from step 40 on."""
        run = healthy_run()
        scale = np.where(run.step < 40, 1.0, 255.0)
        return replace(
            run,
            input_min=0.0 * scale,
            input_max=1.0 * scale,
            input_mean=0.4 * scale,
            input_std=0.25 * scale,
        )


def _lengths(critical: int, warning: int) -> tuple[tuple[Severity, int], ...]:
    """Return the lengths of spans by severity, the severer one first."""
    return (("critical", critical), ("warning", warning))


def _infinite(run: RunSeries) -> Bools:
    """Return the steps whose input held an infinite value."""
    infinite: Bools = np.isinf(run.input_max) | np.isinf(run.input_min)
    return infinite
