"""The fault benchmark: recall of labeled faults and false alarms on healthy runs.

The traces in a benchmark folder are scored against the labels of the scenarios, without training,
so that new rules can be scored on old traces.
"""

from __future__ import annotations

from yolo_stability.studies.fault_detection.score import FAULTS_JSON, score_labeled, write_faults

__all__ = ["FAULTS_JSON", "score_labeled", "write_faults"]
