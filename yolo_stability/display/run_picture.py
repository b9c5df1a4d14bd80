"""`gradient_norms.png` of a run, drawn from its trace."""

from __future__ import annotations

from pathlib import Path

from yolo_stability.core.types import Trace
from yolo_stability.display.heatmap import draw_heatmap
from yolo_stability.trace.heat_matrix import heat_matrix
from yolo_stability.trace.summary import summarize

__all__ = ["draw_run"]


HEATMAP_FILE = "gradient_norms.png"


def draw_run(trace: Trace) -> Path:
    """Draw a run's `gradient_norms.png` into its `stability/` folder.

    Args:
        trace: A trace from `load_trace`.

    Returns:
        Path of the PNG.
    """
    from yolo_stability.core.text import run_title
    from yolo_stability.display.run_table import run_headline

    summary, path = summarize(trace), trace.path / HEATMAP_FILE
    draw_heatmap(
        heat_matrix(trace),
        path,
        title=run_title(trace.header),
        note=run_headline(summary),
        clip_norm=summary.clip_norm,
    )
    return path
