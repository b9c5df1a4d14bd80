"""The bar chart of text, and the same curve as a PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from yolo_stability.display.example_curve import ExampleCurve
from yolo_stability.display.example_figure import draw_example
from yolo_stability.display.text_chart import chart_legend, chart_lines

ROWS = 7


def curve(values: Any, healthy: Any = None, **changes: Any) -> ExampleCurve:
    values = np.asarray(values, dtype=float)
    given: dict[str, Any] = {
        "quantity": "loss",
        "axis": "step",
        "places": np.arange(values.size),
        "values": values,
        "healthy": None if healthy is None else np.asarray(healthy, dtype=float),
        "fired": np.zeros(values.size, dtype=bool),
    }
    return ExampleCurve(**{**given, **changes})


def bars(drawn: ExampleCurve, **options: Any) -> list[str]:
    """Return the bars alone, the top row first."""
    return [line.partition("|")[2] for line in chart_lines(drawn, **options)[1 : ROWS + 1]]


def heights(drawn: ExampleCurve, **options: Any) -> list[int]:
    """Return how many rows of each column hold anything."""
    rows = [row.ljust(72) for row in bars(drawn, **options)]
    return [sum(row[i] != " " for row in rows) for i in range(72)]


def test_a_bar_is_as_high_as_its_share_of_the_scale() -> None:
    values = np.repeat([7.0, 3.0, 0.0, 1.0], 30)
    assert heights(curve(values), width=100)[:60] == [7] * 15 + [3] * 15 + [0] * 15 + [1] * 15


def test_few_values_get_wider_bars_and_many_share_one_with_their_maximum() -> None:
    assert bars(curve([4.0, 2.0]))[0] == "██"
    assert bars(curve([4.0, 2.0]))[-1] == "████"
    many = np.zeros(5000)
    many[2500] = 9.0
    found = heights(curve(many))
    assert max(found) == 7
    assert sum(height == 7 for height in found) == 1
    assert max(len(line) for line in chart_lines(curve(many))) <= 80


def test_alternating_steps_stay_apart() -> None:
    row = bars(curve(np.where(np.arange(96) % 2, 3.0, 1.0)))[0]
    assert row == "▐" * 48
    assert bars(curve(np.where(np.arange(96) % 2, 3.0, 1.0)), plain=True)[0] == "|" * 48


def test_a_wide_span_is_logarithmic_and_its_smallest_value_has_a_bar() -> None:
    drawn = curve([1e-6, 1.0] * 48)
    assert drawn.logarithmic
    assert drawn.title == "loss, log scale"
    lines = chart_lines(drawn)
    assert lines[1].split()[0] == "1"
    assert lines[ROWS].split()[0] == "1e-6"
    assert set(heights(drawn)[:48]) == {7}
    assert "▟" in lines[ROWS]
    assert not curve([0.0, 1.0]).logarithmic
    assert not curve([-1.0, 1e9]).logarithmic


def test_a_zero_has_no_bar_on_a_log_scale() -> None:
    assert heights(curve([0.0] * 8 + [1.0] * 8 + [1e3] * 8))[:16] == [0] * 16


def test_nan_is_marked_unless_it_was_never_measured() -> None:
    values = [1.0] * 48 + [np.nan] * 48
    assert bars(curve(values))[-1] == "█" * 24 + "x" * 24
    assert "x a value that is NaN or Inf" in chart_legend(curve(values))
    assert bars(curve(values, sampled=True))[-1] == "█" * 24
    assert "a gap was not measured" in chart_legend(curve(values, sampled=True))


def test_the_steps_of_the_finding_are_marked_and_a_healthy_run_has_the_same_scale() -> None:
    fired = np.zeros(96, dtype=bool)
    fired[[0, 1, 95]] = True
    lines = chart_lines(curve([8.0] * 96, healthy=[1.0] * 96, fired=fired))
    marks, healthy = lines[-2], lines[-1]
    assert marks.split() == ["fires", "^", "^"]
    assert [i for i, c in enumerate(marks) if c == "^"] == [9, 56]
    assert healthy.split() == ["healthy", "▂" * 48]
    assert lines[-3].split() == ["step", "0", "95"]
    assert "healthy" not in "".join(chart_lines(curve([8.0] * 96)))


@pytest.mark.parametrize("values", [[5.0], [0.0, 0.0], [np.nan, np.nan], [np.inf, 1.0], [-3.0]])
@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_odd_values_are_drawn_in_any_width(values: list[float], width: int) -> None:
    lines = chart_lines(curve(values, healthy=values), width)
    assert len(lines) == ROWS + 5
    assert max(len(line) for line in lines) <= min(max(width, 13), 81)
    assert all(line == line.rstrip() for line in lines)


def test_plain_charts_are_ascii() -> None:
    values = np.linspace(0, 5, 96)
    assert all(line.isascii() for line in chart_lines(curve(values, values), plain=True))
    assert not all(line.isascii() for line in chart_lines(curve(values, values)))


def test_the_picture_shows_bad_steps_and_is_small(tmp_path: Path) -> None:
    fired = np.arange(96) > 60
    values = np.where(fired, np.nan, 3.0)
    draw_example(curve(values, [2.0] * 96, fired=fired), tmp_path / "a.png")
    draw_example(curve(np.full(96, 3.0), [2.0] * 96), tmp_path / "b.png")
    red = []
    for name in ("a.png", "b.png"):
        assert (tmp_path / name).stat().st_size < 60_000
        pixels = np.asarray(Image.open(tmp_path / name).convert("RGB")).astype(int)
        red.append(int((np.abs(pixels - [228, 0, 43]).sum(axis=2) < 60).sum()))
    assert red[0] > 100
    assert red[1] == 0
