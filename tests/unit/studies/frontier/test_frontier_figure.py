"""The picture of a frontier: bars as long as they should be, and marks that need no colour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
import pytest

from yolo_stability.studies.frontier import drawing as frontier
from yolo_stability.studies.frontier.drawing import Mark, Row, draw_frontier

VERDICTS = ("stable", "unstable", "crashed", "inconclusive")


def row(**changes: Any) -> Row:
    marks = (
        Mark(value=1.0, lane=0, verdict="stable"),
        Mark(value=100.0, lane=0, verdict="unstable"),
    )
    values: dict[str, Any] = {
        "label": "clip 10",
        "stable": 10.0,
        "failing": 31.6,
        "text": "10 to 31.6",
        "lanes": ("seed 0",),
        "marks": marks,
    }
    return Row(**{**values, **changes})


def drawn(rows: list[Row], ends: tuple[float, float] = (1.0, 1000.0)) -> Any:
    figure = frontier._figure(rows, "lr_mult", ends, "title", "note")
    figure.canvas.draw()
    return figure


def bars(axes: Any) -> list[tuple[float, float]]:
    return [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches]


def test_a_bar_reaches_to_the_last_stable_value_and_a_second_to_the_first_failing_one() -> None:
    axes = drawn([row()]).axes[0]
    assert bars(axes) == [pytest.approx((0, 1)), pytest.approx((1, np.log10(31.6)))]
    assert [bool(bar.get_hatch()) for bar in axes.patches] == [False, True]


def test_a_search_downwards_runs_from_left_to_right_too() -> None:
    axes = drawn([row(stable=100.0, failing=31.6)], ends=(1000.0, 1.0)).axes[0]
    left, right = axes.get_xlim()
    assert left > right
    assert bars(axes)[0] == pytest.approx((3, 2))


def test_where_nothing_or_everything_is_stable_there_is_no_edge() -> None:
    nothing, everything = (
        drawn([row(stable=None, failing=1.0)]).axes[0],
        drawn([row(stable=1000.0, failing=None)]).axes[0],
    )
    assert bars(nothing) == []
    assert bars(everything) == [pytest.approx((0, 3))]


def test_verdicts_are_told_apart_by_shape_and_named_in_the_legend() -> None:
    marks = tuple(Mark(value=10.0**i, lane=0, verdict=v) for i, v in enumerate(VERDICTS))
    figure = drawn([row(marks=marks)])
    shapes = [frontier._MARKS[v]["marker"] for v in VERDICTS]
    assert len(set(shapes)) == 4
    places = [c.get_offsets()[0][0] for c in figure.axes[0].collections if len(c.get_offsets())]
    assert places == [0, 1, 2, 3]
    named = [text.get_text() for text in figure.legends[0].texts]
    assert named == [
        "stable run",
        "unstable run",
        "crashed",
        "inconclusive",
        "stable for all seeds",
        "range of the edge",
    ]
    assert len(drawn([row()]).legends[0].texts) == 4


def test_seeds_lie_below_each_other_inside_their_row() -> None:
    marks = tuple(Mark(value=10.0, lane=i, verdict="stable") for i in range(3))
    figure = drawn([row(marks=marks, lanes=("a", "b", "c")), row(label="other")])
    heights = figure.axes[0].collections[0].get_offsets()[:, 1]
    assert list(heights) == sorted(set(heights))
    assert max(heights) < frontier._height(row(lanes=("a", "b", "c")))


def test_every_text_lies_inside_the_picture() -> None:
    rows = [
        row(
            label="BatchNorm + clip 10 + weight_decay=0.0005 + AdamW",
            text="0.03162, then undecided",
        )
    ]
    figure = drawn(rows * 3)
    width, height = figure.canvas.get_width_height()
    texts = [*figure.texts, *figure.axes[0].texts, *figure.legends[0].texts]
    for box in [text.get_window_extent() for text in texts]:
        assert box.x0 >= 0
        assert box.x1 <= width
        assert box.y0 >= 0
        assert box.y1 <= height


@pytest.mark.parametrize("ends", [(1.0, 1000.0), (1e-6, 1e6), (8.0, 1.0), (0.9, 0.99), (1.0, 1.2)])
def test_there_are_a_few_ticks_on_any_range(ends: tuple[float, float]) -> None:
    ticks = frontier._ticks(*sorted((float(np.log10(ends[0])), float(np.log10(ends[1])))))
    assert 1 < len(ticks) <= 13
    assert all(min(ends) * 0.999 <= 10**t <= max(ends) * 1.001 for t in ticks)


def test_the_file_is_written_at_once_and_settings_stay(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    for _ in range(2):
        draw_frontier(
            [row()], tmp_path / "f.png", axis="lr_mult", ends=(1.0, 1000.0), title="t", note="n"
        )
    assert dict(mpl.rcParams) == before
    assert [f.name for f in tmp_path.iterdir()] == ["f.png"]
    image = cv2.imread(str(tmp_path / "f.png"))
    assert image is not None
    assert image.shape[1] == 1260
