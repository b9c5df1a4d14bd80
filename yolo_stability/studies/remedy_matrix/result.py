"""The remedy matrix: the content of `remedies.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from yolo_stability.studies.remedy_matrix.matrix import (
    OutcomeCounts,
    Price,
    RemedyCell,
)

__all__ = ["CauseRow", "MatrixResult", "RemedyColumn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseRow:
    """A cause, one row of the matrix.

    Attributes:
        name: Name of its scenario.
        title: Description in one sentence.
        cause: The cause as a diagnosis names it; None if its label has none.
        optimizer: Effective optimizer.
        settings: Its keys, as typed.
        alone: Outcomes of its runs without a remedy, by task.
    """

    name: str
    title: str
    cause: str | None
    optimizer: str
    settings: str
    alone: Mapping[str, OutcomeCounts]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemedyColumn:
    """A remedy, one column of the matrix.

    Attributes:
        name: Name of its scenario.
        title: Description in one sentence.
        settings: Its keys, as typed for any run.
    """

    name: str
    title: str
    settings: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixResult:
    """The content of `remedies.json`.

    Attributes:
        schema_version: Schema version of the file.
        suite: Name of the suite.
        command: The command line; empty from Python.
        measured: Time at which the last run ended.
        versions: Versions of Python and packages used for scoring.
        models: Model and dataset by task.
        epochs: Epochs per run.
        learned: Share of the fitness of the control that counts as saved.
        margin: Largest share of fitness that a recommended remedy may cost a healthy run.
        enough_seeds: Minimum number of seeds for a recommendation.
        planned_runs: Runs of the complete matrix.
        ended_runs: Runs that have ended.
        stale_runs: Runs in the folder with outdated settings, which are ignored.
        uncounted_runs: Excluded runs: lost, or the control of their seed is missing or did not
            learn.
        crashes: Errors of crashed runs, with counts.
        control: Fitness of the healthy control by task, the reference for all other runs.
        rows: Causes.
        columns: Remedies.
        prices: Remedies on the healthy recipe.
        cells: Remedies against causes.
    """

    schema_version: int
    suite: str
    command: str
    measured: str
    versions: Mapping[str, str]
    models: Mapping[str, Sequence[str]]
    epochs: int
    learned: float
    margin: float
    enough_seeds: int
    planned_runs: int
    ended_runs: int
    stale_runs: int
    uncounted_runs: int
    crashes: Mapping[str, int]
    control: Mapping[str, Sequence[float | None]]
    rows: Sequence[CauseRow]
    columns: Sequence[RemedyColumn]
    prices: Sequence[Price]
    cells: Sequence[RemedyCell]
