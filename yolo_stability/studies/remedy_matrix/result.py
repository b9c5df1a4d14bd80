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
    """A cause.

    Attributes:
        name: Its scenario.
        title: What it is, in one sentence.
        cause: The same in the words of a diagnosis; None where its label does not say.
        optimizer: Optimizer in force.
        settings: Its keys, as one writes them.
        alone: How its runs went without any remedy, by task.
    """

    name: str
    title: str
    cause: str | None
    optimizer: str
    settings: str
    alone: Mapping[str, OutcomeCounts]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemedyColumn:
    """A remedy.

    Attributes:
        name: Its scenario.
        title: What it is, in one sentence.
        settings: Its keys, as one writes them for a run of one's own.
    """

    name: str
    title: str
    settings: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixResult:
    """What `remedies.json` holds.

    Attributes:
        schema_version: Of this file.
        suite: Name of the suite.
        command: What was typed; empty where it was no command.
        measured: When the last of the runs ended.
        versions: Of Python and packages that scored.
        models: Model and dataset by task.
        epochs: Length of the runs.
        learned: Share of the control's fitness that counts as saved.
        margin: What a recommended remedy may cost a healthy run, as a share.
        enough_seeds: Seeds below which nothing is recommended.
        planned_runs: Runs of the whole matrix.
        ended_runs: Those of them that have ended.
        stale_runs: Runs in the folder of other settings, which count nowhere.
        uncounted_runs: Runs that count nowhere either: lost, or the control of their seed is missing or did not learn.
        crashes: Errors of runs that crashed, each once, with how often.
        control: How the healthy control did, by task: its own fitness is what all others are held against.
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
