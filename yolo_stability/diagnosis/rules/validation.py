"""Validation losses that are not finite or explode, and metrics that are lost for good."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from yolo_stability.core.findings import Finding
from yolo_stability.core.text import brief, count
from yolo_stability.core.types import CauseName, Severity
from yolo_stability.diagnosis.base import USUAL_RATE, Rule
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.evidence import (
    Validations,
    epochs_text,
    last_row_of,
    not_finite,
    skill_columns,
    validations,
)
from yolo_stability.diagnosis.examples import healthy_run
from yolo_stability.diagnosis.rolling import ratio_of, rolling_median, spans
from yolo_stability.trace.arrays import Bools, EpochSeries, Floats, RunSeries

__all__ = ["Validation"]

_HALF = (
    "validation runs in half precision under AMP: try amp=False; if it is still not finite, look "
    "for a layer that computes something else in evaluation than in training"
)


@dataclass(frozen=True, kw_only=True)
class _Sign:
    """Something seen in consecutive validations: V validations.

    Attributes:
        column: Column that shows it.
        span: First validation, and the one after the last.
        of: Number of validations of the run so far.
    """

    column: str
    span: tuple[int, int]
    of: int

    @property
    def lasting(self) -> bool:
        """Whether it extends to the last validation."""
        return self.span[1] == self.of


@dataclass(frozen=True, kw_only=True)
class Validation(Rule):
    """Validation losses that are not finite or explode, or metrics that are lost for good.

    Critical at the end of a run if it lasts and metrics show that nothing has been learned.

    While a run is in progress, and for what ended before its last validation, it is a warning: the
    first validations of a model may be far off, and those of a run under AMP not finite.

    Attributes:
        few: Consecutive validations that distinguish a level from a single bad validation.
        lost: Share of its best below which a metric is lost. A model that declines keeps more.
        least: Best mAP or accuracy from which there is something to lose. On a small set the first
            validations differ by less by chance.
        exploded: Multiple of its lowest level above which the sum of the validation losses has
            exploded. Overfitting raises it severalfold over many epochs.
        zeros: Consecutive validations with metrics of exactly 0. A new model that learns well may
            need nine.
    """

    sign: ClassVar[str] = "validations that are lost"
    supports: ClassVar[tuple[CauseName, ...]] = ("evaluation", "learning_rate")
    few: int = 3
    lost: float = 0.1
    least: float = 0.05
    exploded: float = 20.0
    zeros: int = 10

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Check each kind of trouble; report each at most once."""
        yield from self._training(context)
        table = validations(context.epochs)
        if table.epoch.size:
            yield from self._not_finite(context, table)
            yield from self._exploded(context, table)
            yield from self._metrics(context, table)

    def _training(self, context: DiagnosisContext) -> Iterator[Finding]:
        """Check single training losses of a run without a trace."""
        epochs = context.epochs
        columns = [name for name in epochs.values if name.startswith("train/")]

        def severe(sign: _Sign) -> bool:
            return not context.live and sign.lasting

        sign = self._worst(columns, lambda c: not_finite(epochs, c), 1, severe, context.live)
        if sign is None:
            return
        others = _others(columns, lambda c: not_finite(epochs, c), sign)
        yield self._report(
            "critical" if severe(sign) else "warning",
            f"{sign.column} was not finite {_when(sign, epochs)}{others}",
            context=context,
            epochs=epochs,
            sign=sign,
            remedy=f"{USUAL_RATE}, or amp=False",
        )

    def _not_finite(self, context: DiagnosisContext, table: Validations) -> Iterator[Finding]:
        columns = table.columns("val/")
        idle = self._idle(context, table)

        def severe(sign: _Sign) -> bool:
            last = min(self.few, sign.of)
            return not context.live and sign.lasting and _last(idle, last) and _spans(sign, last)

        sign = self._worst(columns, lambda c: not_finite(table, c), 1, severe, context.live)
        if sign is None:
            return
        others = _others(columns, lambda c: not_finite(table, c), sign)
        yield self._report(
            "critical" if severe(sign) else "warning",
            f"{sign.column} was not finite {_when(sign, table)}{others}",
            context=context,
            epochs=table,
            sign=sign,
            remedy=_HALF,
        )

    def _exploded(self, context: DiagnosisContext, table: Validations) -> Iterator[Finding]:
        columns = [c for c in table.columns("val/") if np.isfinite(table.values[c]).any()]
        if not columns:
            return
        with np.errstate(over="ignore"):
            total = np.abs(np.stack([table.values[c] for c in columns])).sum(axis=0)
        ratio = ratio_of(total, self._level(total))
        idle = self._idle(context, table)

        def severe(sign: _Sign) -> bool:
            return not context.live and sign.lasting and _last(idle, self.few)

        sign = self._worst([""], lambda _: ratio > self.exploded, self.few, severe, context.live)
        if sign is None:
            return
        begin = sign.span[0]
        sign = replace(sign, column=max(columns, key=lambda c: _growth(table.values[c], begin)))
        yield self._report(
            "critical" if severe(sign) else "warning",
            f"the validation losses were {brief(float(ratio[begin]))} times their lowest level "
            f"{_when(sign, table)}, most of all {sign.column}",
            context=context,
            epochs=table,
            sign=sign,
            observed=float(ratio[begin]),
            threshold=self.exploded,
            remedy=f"{USUAL_RATE}; an earlier best.pt may be sound: 'yolo val' measures it",
        )

    def _level(self, total: Floats) -> Floats:
        """Return the lowest running median of the validations before each; NaN for the first."""
        level = rolling_median(total, self.few)
        lowest = np.minimum.accumulate(np.where(np.isfinite(level), level, np.inf))
        before = np.concatenate(([np.nan], lowest[:-1]))
        return np.where(np.isfinite(before), before, np.nan)

    def _metrics(self, context: DiagnosisContext, table: Validations) -> Iterator[Finding]:
        """Check for metrics that were lost, else for metrics that are 0 throughout."""
        columns = skill_columns(table.columns("metrics/"))
        known = {c: ~table.missing.get(c, np.zeros(table.epoch.size, dtype=bool)) for c in columns}
        lost = {c: self._is_lost(self._skill(context, table, c)) & known[c] for c in columns}

        def severe(sign: _Sign) -> bool:
            return not context.live and sign.lasting

        sign = self._worst(columns, lost.__getitem__, self.few, severe, context.live)
        if sign is not None:
            yield self._lost(context, table, sign, "critical" if severe(sign) else "warning")
        zero = {c: (_filled(table.values[c]) == 0) & known[c] & ~lost[c] for c in columns}
        sign = self._worst(columns, zero.__getitem__, self.zeros, lambda _: False, context.live)
        if sign is not None:
            yield self._zero(context, table, sign)

    def _lost(
        self, context: DiagnosisContext, table: Validations, sign: _Sign, severity: Severity
    ) -> Finding:
        values, begin = table.values[sign.column], sign.span[0]
        best = int(np.nanargmax(_filled(values[:begin])))
        now = float(_filled(values)[begin])
        text = (
            f"{sign.column} fell from {brief(float(values[best]))} in epoch "
            f"{table.epoch[best] + 1} to {brief(now)} {_when(sign, table)}"
        )
        return self._report(
            severity,
            text,
            context=context,
            epochs=table,
            sign=sign,
            observed=now,
            threshold=self.lost * float(values[best]),
            remedy=(
                f"deploy a checkpoint from before, if 'yolo val' confirms it; then {USUAL_RATE}, "
                "and amp=False if losses are not finite"
            ),
        )

    def _zero(self, context: DiagnosisContext, table: Validations, sign: _Sign) -> Finding:
        size = sign.span[1] - sign.span[0]
        return self._report(
            "warning",
            f"{sign.column} was exactly 0 in {size} validations in a row, {_when(sign, table)}",
            context=context,
            epochs=table,
            sign=sign,
            observed=float(size),
            threshold=float(self.zeros),
            remedy=(
                "'yolo-stability data check' compares the labels of train and val; a new model "
                "may also need more steps"
            ),
        )

    def _skill(self, context: DiagnosisContext, table: Validations, column: str) -> Floats:
        """Return a metric with 0 at the level of chance, and where it is not finite."""
        classes = context.settings.get("nc")
        values = _filled(table.values[column])
        if "accuracy" not in column or not isinstance(classes, int) or classes < 2:
            return values
        return np.maximum((values - 1 / classes) / (1 - 1 / classes), 0)

    def _is_lost(self, skill: Floats) -> Bools:
        """Return where a metric is far below its best so far."""
        best = np.maximum.accumulate(skill)
        lost: Bools = (best >= self.least) & (skill < self.lost * best)
        return lost

    def _idle(self, context: DiagnosisContext, table: Validations) -> Bools:
        """Return the validations whose metric shows a model that has learned nothing, or lost it.

        A table without metrics shows nothing of either.
        """
        columns = skill_columns(table.columns("metrics/"))
        if not columns:
            return np.zeros(table.epoch.size, dtype=bool)
        skill = self._skill(context, table, columns[0])
        idle: Bools = (skill <= 0) | self._is_lost(skill)
        return idle

    def _worst(
        self,
        columns: list[str],
        flags: Callable[[str], Bools],
        length: int,
        severe: Callable[[_Sign], bool],
        live: bool = False,
    ) -> _Sign | None:
        """Return the first severe sign, else the first; while a run is in progress the first."""
        found = []
        for column in columns:
            flagged = flags(column)
            found += [
                _Sign(column=column, span=span, of=flagged.size) for span in spans(flagged, length)
            ]
        return min(found, key=lambda s: (not live and not severe(s), s.span[0]), default=None)

    def _report(
        self,
        severity: Severity,
        message: str,
        *,
        context: DiagnosisContext,
        epochs: Validations | EpochSeries,
        sign: _Sign,
        remedy: str,
        observed: float | None = None,
        threshold: float | None = None,
    ) -> Finding:
        """Create a finding dated by epoch, and by the steps of those epochs."""
        first, last = (int(epochs.epoch[i]) for i in (sign.span[0], sign.span[1] - 1))
        begin = last_row_of(context, first)
        # what lasts has not ended with the last validation
        end = context.run.step.size if sign.lasting else last_row_of(context, last) + 1
        return self.found(
            severity,
            message,
            context=context,
            rows=(begin, max(begin + 1, end)),
            column=sign.column,
            epochs=(first, last),
            observed=observed,
            threshold=threshold,
            remedy=remedy,
        )

    @classmethod
    def example(cls) -> RunSeries:
        """Return a run whose mAP falls to 0 in its third epoch and stays there."""
        run = healthy_run()
        metric = np.array([0.4, 0.5, 0.0, 0.0, 0.0, 0.0])
        table = EpochSeries(
            epoch=np.arange(6),
            validated=np.ones(6, dtype=bool),
            fitness=metric,
            values={"val/box_loss": np.linspace(1.5, 1.0, 6), "metrics/mAP50-95(B)": metric},
            missing={},
            steps=np.full(6, 16, dtype=np.int64),
        )
        return replace(run, epochs=table)


def _filled(values: Floats) -> Floats:
    """Return a metric with 0 where it is not finite."""
    return np.where(np.isfinite(values), values, 0.0)


def _growth(values: Floats, row: int) -> float:
    """Return by how much a loss exceeds its level before; infinite where it is not finite."""
    grown = abs(float(values[row])) - float(np.median(np.abs(_filled(values[:row]))))
    return grown if np.isfinite(grown) else float("inf")


def _last(flags: Bools, number: int) -> bool:
    """Return whether the last flags are set, as many as asked for, or all if there are fewer."""
    return bool(flags.size and flags[-number:].all())


def _spans(sign: _Sign, number: int) -> bool:
    """Return whether a sign covers as many of the last validations."""
    return sign.span[1] - sign.span[0] >= number


def _when(sign: _Sign, table: Validations | EpochSeries) -> str:
    first, last = (int(table.epoch[i]) for i in (sign.span[0], sign.span[1] - 1))
    return epochs_text(first, last, lasting=sign.lasting and first != last)


def _others(columns: list[str], flags: Callable[[str], Bools], sign: _Sign) -> str:
    """Count the other columns that show the same in those epochs."""
    rows = slice(*sign.span)
    others = sum(bool(flags(c)[rows].any()) for c in columns) - 1
    return f", along with {count(others, 'other column')}" if others else ""
