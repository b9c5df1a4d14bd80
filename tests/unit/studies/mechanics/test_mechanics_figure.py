"""The pictures of `mechanics`: names that do not overlap, zeros and broken lines that can be
seen."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from yolo_stability.studies.mechanics import figure as mechanics
from yolo_stability.studies.mechanics.figure import CurveLine, Panel, draw_panels, figures_table

NAMES = [f"network {i}" for i in range(7)]


def panel(lines: list[CurveLine], **changes: Any) -> Panel:
    values: dict[str, Any] = {
        "title": "t",
        "x_label": "length",
        "y_label": "norm",
        "group": "g",
        **changes,
    }
    return Panel(lines=tuple(lines), **values)


def drawn(panels: list[Panel]) -> Any:
    """Return the figure, laid out as it is saved."""
    figure = mechanics._figure(panels, "title", "note")
    FigureCanvasAgg(figure).draw()
    return figure


def boxes(figure: Any, names: list[str]) -> list[Any]:
    texts = [text for axes in figure.axes for text in axes.texts if text.get_text() in names]
    return [text.get_window_extent() for text in texts]


@pytest.mark.parametrize(
    "ends", [[1.0] * 7, [1.0, 1.1, 1e9, 1e-9, 1.2, 0.9, 1.0], list(np.logspace(-3, 3, 7))]
)
def test_names_at_the_ends_never_overlap_and_stay_inside(ends: list[float]) -> None:
    lines = [CurveLine(label=n, x=(1, 2), y=(1.0, end)) for n, end in zip(NAMES, ends, strict=True)]
    figure = drawn([panel(lines), panel(lines)])
    found = boxes(figure, NAMES)
    assert len(found) == 14
    for column in (found[:7], found[7:]):
        for below, above in pairwise(sorted(column, key=lambda box: box.y0)):
            assert above.y0 >= below.y1 - 2
    width, height = figure.canvas.get_width_height()
    assert all(box.x1 <= width and box.y0 >= 0 and box.y1 <= height for box in found)


def test_names_stand_in_the_order_of_their_lines() -> None:
    lines = [CurveLine(label=n, x=(1, 2), y=(1.0, 10.0**i)) for i, n in enumerate(NAMES)]
    heights = [box.y0 for box in boxes(drawn([panel(lines)]), NAMES)]
    assert heights == sorted(heights)


def test_panels_of_one_group_share_their_axis_and_a_name_its_colour() -> None:
    low, high = (
        [CurveLine(label="a", x=(1, 2), y=(1.0, 1e-6))],
        [
            CurveLine(label="b", x=(1, 2), y=(1.0, 1e6)),
            CurveLine(label="a", x=(1, 2), y=(1.0, 2.0)),
        ],
    )
    one, two, other = drawn([panel(low), panel(high), panel(high, group="h")]).axes
    assert one.get_ylim() == two.get_ylim() != other.get_ylim()
    colours = {text.get_text(): text.get_color() for text in two.texts}
    assert one.texts[0].get_color() == colours["a"] != colours["b"]


def test_a_zero_is_a_triangle_on_the_floor() -> None:
    axes = drawn([panel([CurveLine(label="a", x=(1, 2, 3), y=(1.0, 1e-9, 0.0))])]).axes[0]
    marks = [c.get_offsets() for c in axes.collections if len(c.get_offsets())]
    assert [tuple(place) for place in marks[0]] == [(3.0, axes.get_ylim()[0])]
    assert axes.get_ylim()[0] < -9


def test_a_line_that_stops_says_why() -> None:
    lines = [
        CurveLine(label="a", x=(0, 1, 2, 3), y=(1.0, 1e9, None, None)),
        CurveLine(label="b", x=(0, 1), y=(1.0, 2.0)),
    ]
    axes = drawn([panel(lines)]).axes[0]
    texts = {text.get_text(): text for text in axes.texts}
    assert set(texts) == {"a: NaN or Inf\nfrom here", "b"}
    assert texts["a: NaN or Inf\nfrom here"].xy == (1, pytest.approx(9))


def test_a_line_without_any_value_draws_nothing() -> None:
    axes = drawn([panel([CurveLine(label="a", x=(0, 1), y=(None, None))])]).axes[0]
    assert not axes.texts


def test_the_file_is_written_at_once_and_settings_stay(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    path = tmp_path / "new" / "picture.png"
    draw_panels(
        [panel([CurveLine(label="a", x=(1, 2), y=(1.0, 2.0))], limit=(0.5, "limit"))],
        path,
        title="t",
        note="n",
    )
    assert dict(mpl.rcParams) == before
    assert [f.name for f in path.parent.iterdir()] == ["picture.png"]
    image = cv2.imread(str(path))
    assert image is not None
    assert image.shape[1] == 1260
    assert (image < 128).any()


def test_a_row_of_one_text_is_a_heading() -> None:
    table = figures_table("t", ["name", "at 2"], [["group"], [" a", "1.00"]])
    assert [row.style for row in table.rows] == ["bold", ""]
