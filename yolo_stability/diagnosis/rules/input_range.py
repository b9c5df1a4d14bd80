"""Model inputs outside the range that the model was built for, or that change during the run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from yolo_stability.core.findings import Finding
from yolo_stability.core.text import brief
from yolo_stability.core.types import CauseName, Severity
from yolo_stability.diagnosis.base import Rule
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import healthy_run
from yolo_stability.diagnosis.rolling import first_span, ratio_of, usual_before
from yolo_stability.trace.arrays import Bools, Floats, Ints, RunSeries

__all__ = ["InputRange"]

_REMEDY = (
    "give the model values from 0 to 1: check the code that loads, normalizes or preprocesses "
    "images, which Ultralytics divides by 255 itself"
)


@dataclass(frozen=True, slots=True)
class _Sign:
    """Flags of one kind of fault, and how many in a row are a warning or critical."""

    flags: Bools
    values: Floats
    limit: float
    warning: int
    critical: int | None
    text: str

    def first(self) -> _Hit | None:
        """Return the first span that is long enough, for the highest severity."""
        lengths: tuple[tuple[Severity, int | None], ...] = (
            ("critical", self.critical),
            ("warning", self.warning),
        )
        for severity, length in lengths:
            span = first_span(self.flags, length) if length else None
            if span is not None and length:
                known = span[0] + length
                return _Hit(severity, span[0], span[1], known, self)
        return None


@dataclass(frozen=True, slots=True)
class _Hit:
    """A span of samples with a sign, and the position at which it was known."""

    severity: Severity
    begin: int
    end: int
    known: int
    sign: _Sign


@dataclass(frozen=True, kw_only=True)
class InputRange(Rule):
    """Images whose values are outside the range that the model is built for, or constant.

    Critical if whole batches are far too bright, too dark or constant; else a warning.

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

    sign: ClassVar[str] = "input values out of range"
    supports: ClassVar[tuple[CauseName, ...]] = ("data",)
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
        """Check the sampled batches for each sign; report the first critical one, or the first."""
        run = context.run
        infinite = np.isinf(run.input_max) | np.isinf(run.input_min)
        rows = np.flatnonzero(np.isfinite(run.input_std) | infinite)
        task = context.header.effective.get("task") if context.header else None
        found = [hit for sign in self._signs(run, rows, task) if (hit := sign.first()) is not None]
        if not rows.size or not found:
            return
        hit = min(found, key=lambda hit: (hit.severity != "critical", hit.known))
        first, end = int(rows[hit.begin]), int(rows[hit.end - 1]) + 1
        observed = float(hit.sign.values[hit.begin])
        finite = bool(np.isfinite(observed))
        text = hit.sign.text.format(brief(observed) if finite else "infinity")
        step = context.step_at(first)
        when = f"from step {step} on" if hit.end - hit.begin > 1 else f"at step {step}"
        yield self.found(
            hit.severity,
            f"{when} the input values of the model {text}",
            context=context,
            rows=(first, end),
            observed=observed if finite else None,
            threshold=hit.sign.limit,
            remedy=_REMEDY,
        )

    def _signs(self, run: RunSeries, rows: Ints, task: object) -> Iterator[_Sign]:
        """Yield the flags of each sign over the sampled batches."""
        low, high, spread = (
            values[rows] for values in (run.input_min, run.input_max, run.input_std)
        )
        level = ratio_of(spread, usual_before(spread, self.window, self.lasting))
        few, many = self.several, self.lasting
        with np.errstate(invalid="ignore"):
            tall, below, flat = np.maximum(high, -low), low < self.negative, spread < self.flat
            limit = np.where(below | (task == "classify"), self.normalized, self.bright)
            bright = np.where(limit > self.bright, tall, high) > limit
            dark = (high < self.dark) & (high > 0) & ~flat & ~below
            odd = below & ~bright & (task not in {None, "classify"})
            left = (level > self.changed) | (level < 1 / self.changed)
        undivided = "reached {}: they were not divided by 255"
        yield _Sign(bright, tall, self.bright, 1, few, undivided)
        twice = "were at most {}: they were divided by 255 more than once"
        yield _Sign(dark, high, self.dark, few, many, twice)
        blank = "were all the same: the images hold nothing"
        yield _Sign(flat, spread, self.flat, few, many, blank)
        unusual = "fell to {}: values below 0 are unusual for this task"
        yield _Sign(odd, low, self.negative, few, None, unusual)
        changed = "changed their spread by a factor of {} within the run"
        yield _Sign(left, level, self.changed, few, many, changed)

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
