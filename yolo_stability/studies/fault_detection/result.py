"""The result of the fault benchmark: the content of `faults.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from yolo_stability.studies.fault_detection.metrics import (
    HalfScore,
    ScoredRun,
)

__all__ = ["FaultResult"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultResult:
    """The content of `faults.json`.

    Attributes:
        schema_version: Schema version of the file.
        written: Time of scoring, ISO 8601.
        versions: Versions of Python and packages used for scoring.
        halves: The half on which thresholds are tuned, then the held-out half; only those with
            runs.
        runs: All runs.
    """

    schema_version: int
    written: str
    versions: dict[str, str]
    halves: Sequence[HalfScore]
    runs: Sequence[ScoredRun]
