"""The remedy matrix: effect of each remedy on each cause, with confidence and cost on healthy runs.

It is computed from the runs of a benchmark folder, even if it is incomplete, without training.
"""

from __future__ import annotations

from yolo_stability.studies.remedy_matrix.score import REMEDIES_JSON, score_matrix, write_remedies

__all__ = ["REMEDIES_JSON", "score_matrix", "write_remedies"]
