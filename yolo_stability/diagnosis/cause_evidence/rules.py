"""Evidence from findings that name their cause themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from yolo_stability.core.findings import Finding
from yolo_stability.core.types import CauseName
from yolo_stability.diagnosis.cause_evidence.base import CauseEvidence

__all__ = ["from_rules"]

_CAUSES: Mapping[str, Mapping[CauseName, float]] = {
    "no_match": {"data": 8.0},
    "input_range": {"data": 4.0, "settings": 1.0},
    "trainable": {"settings": 8.0},
    "loss_scale": {"settings": 3.0, "module": 2.0},
    "weight_jump": {"settings": 3.0},
}
"""Rules whose finding is the cause, not a symptom of it."""


def from_rules(rules: Mapping[str, Finding]) -> Iterator[CauseEvidence]:
    """Yield evidence from findings by rule.

    Args:
        rules: A finding of each rule.
    """
    for rule, weights in _CAUSES.items():
        found = rules.get(rule)
        if found is not None and found.severity != "info":
            strength = 1.0 if found.severity == "critical" else 0.5
            yield CauseEvidence(
                weights={cause: weight * strength for cause, weight in weights.items()},
                text=found.message,
            )
