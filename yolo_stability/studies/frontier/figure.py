"""Converts a frontier result to the rows of `frontier.png`."""

from __future__ import annotations

from pathlib import Path

from yolo_stability.studies.frontier.drawing import Mark, Row, draw_frontier
from yolo_stability.studies.frontier.result import (
    FRONTIER_PICTURE,
    FrontierResult,
    SettingEdge,
    cost_line,
    edge_text,
    head_line,
)

__all__ = ["write_frontier_picture"]


def write_frontier_picture(result: FrontierResult) -> Path:
    """Draw a frontier into its folder and return the path of the plot."""
    path = result.folder / FRONTIER_PICTURE
    draw_frontier(
        [_row(result, edge) for edge in result.edges],
        path,
        axis=result.axis,
        ends=(result.values[0], result.values[-1]),
        title=head_line(result),
        note=cost_line(result),
    )
    return path


def _row(result: FrontierResult, edge: SettingEdge) -> Row:
    """Return the row of a setting."""
    marks = [
        Mark(value=p.value, lane=result.seeds.index(p.seed), verdict=p.verdict)
        for p in result.points
        if p.setting == edge.setting
    ]
    return Row(
        label=edge.label,
        stable=edge.highest_stable,
        failing=edge.lowest_failing,
        text=edge_text(edge),
        lanes=tuple(f"seed {seed}" for seed in result.seeds),
        marks=tuple(marks),
    )
