"""`CauseEvidence`: one observation and the causes that it supports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from yolo_stability.core.types import CauseName

__all__ = ["CauseEvidence", "scaled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseEvidence:
    """One observation and the causes that it supports.

    Attributes:
        weights: Weight by cause.
        text: Observation in half a sentence.
    """

    weights: Mapping[CauseName, float]
    text: str


def scaled(item: CauseEvidence, factor: float) -> CauseEvidence:
    """Return evidence with its weights multiplied by a factor."""
    return CauseEvidence(
        weights={cause: weight * factor for cause, weight in item.weights.items()}, text=item.text
    )
