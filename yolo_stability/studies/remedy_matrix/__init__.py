"""The remedy matrix: which remedy helps against which cause, how sure that is, and what it costs a healthy run.

It is computed from the runs of a benchmark folder, however many of them have ended yet, without any training.
"""

from __future__ import annotations

from yolo_stability.studies.remedy_matrix.score import REMEDIES_JSON, score_matrix, write_remedies

__all__ = ["REMEDIES_JSON", "score_matrix", "write_remedies"]
