"""Block norms of a run and its control at the start, at the onset and at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from yolo_stability.benchmarks.rows import RunResultRow
from yolo_stability.report.outline import Section
from yolo_stability.report.phrases import steps_text
from yolo_stability.report.run_bins import BinnedRun

__all__ = ["Moment", "Pair", "moments", "pairs", "worst_pair"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A run of an arm with its series, and the control with the same seed (else its first)."""

    run: RunResultRow
    series: BinnedRun
    control: BinnedRun | None
    control_seed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Block norms at one moment.

    Attributes:
        name: `start`, `onset` or `end`.
        title: The steps, for headings.
        norms: Norms of the arm, shape (blocks,); NaN if unknown.
        nonfinite: Whether each block of the arm contained NaN or Inf, shape (blocks,).
        control: Norms of the control for the same blocks, shape (blocks,); None without a control.
    """

    name: str
    title: str
    norms: Any
    nonfinite: Any
    control: Any | None


def pairs(section: Section) -> tuple[Pair, ...]:
    """Return the runs of an arm with recorded blocks, each with its control."""
    there = {
        run.seed: series for run, series in section.control if series is not None and series.blocks
    }
    first = next(iter(there), None)
    found = []
    for run, series in section.runs:
        if series is None or not series.blocks:
            continue
        seed = run.seed if run.seed in there else first
        found.append(
            Pair(
                run=run,
                series=series,
                control=None if seed is None else there[seed],
                control_seed=seed,
            )
        )
    return tuple(found)


def worst_pair(found: tuple[Pair, ...]) -> Pair:
    """Return the run to show first: the one with the earliest onset, else the first seed."""
    return min(
        found, key=lambda pair: np.inf if pair.run.onset_step is None else pair.run.onset_step
    )


def moments(pair: Pair) -> tuple[Moment, ...]:
    """Return the first bin, the bin of the onset, if any, and the last bin."""
    arm = pair.series
    columns = {"start": 0, "onset": arm.column(pair.run.onset_step), "end": len(arm.first) - 1}
    return tuple(
        _moment(name, column, pair) for name, column in columns.items() if column is not None
    )


def _moment(name: str, column: int, pair: Pair) -> Moment:
    arm, control = pair.series, pair.control
    title = {"start": "At the start", "onset": "At the first sign", "end": "At the end"}[name]
    text, norms = f"{title}: {steps_text(arm, column)}", None
    if control is not None:
        last = len(control.first) - 1
        same = control.column(int(arm.first[column]))
        there = last if name == "end" or same is None else same
        row = {block: i for i, block in enumerate(control.blocks)}
        norms = np.array(
            [control.block_norm[row[b], there] if b in row else np.nan for b in arm.blocks]
        )
        if steps_text(control, there) != steps_text(arm, column):
            text += f" (control: {steps_text(control, there)})"
    return Moment(
        name=name,
        title=text,
        norms=arm.block_norm[:, column],
        nonfinite=arm.block_nonfinite[:, column] > 0,
        control=norms,
    )
