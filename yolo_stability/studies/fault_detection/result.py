"""What the fault benchmark found: the content of `faults.json`."""

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
    """What `faults.json` holds.

    Attributes:
        schema_version: Of this file.
        written: When, ISO 8601.
        versions: Versions of Python and packages that scored.
        halves: The half on which thresholds are set, then the unseen one; only those that have runs.
        runs: Every run.
    """

    schema_version: int
    written: str
    versions: dict[str, str]
    halves: Sequence[HalfScore]
    runs: Sequence[ScoredRun]
