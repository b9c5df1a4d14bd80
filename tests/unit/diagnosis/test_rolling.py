"""The small functions of which rules are made, against plain loops."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolo_stability.core.text import brief, count
from yolo_stability.diagnosis.rolling import (
    first_span,
    first_to_last,
    highest_before,
    ratio_of,
    rolling_median,
    spans,
    usual_before,
)

any_float = st.sampled_from([0.0, 1.0, -2.0, 3.5, 1e300, -1e-300, math.inf, -math.inf, math.nan])
series = st.lists(any_float, max_size=20)
flags = st.lists(st.booleans(), max_size=20)


def median(values: list[float], minimum: int) -> float:
    known = [v for v in values if math.isfinite(v)]
    return statistics.median(known) if len(known) >= max(minimum, 1) else math.nan


@given(values=series, window=st.integers(1, 9), minimum=st.integers(1, 9))
def test_rolling_medians_equal_plain_ones(values: list[float], window: int, minimum: int) -> None:
    minimum = min(minimum, window)
    array = np.array(values, dtype=float)
    expected = [median(values[max(0, i - window + 1) : i + 1], minimum) for i in range(len(values))]
    np.testing.assert_array_equal(rolling_median(array, window, minimum=minimum), expected)
    before = [median(values[max(0, i - window) : i], minimum) for i in range(len(values))]
    np.testing.assert_array_equal(usual_before(array, window, minimum), before)


@given(values=series, half=st.integers(0, 4))
def test_a_centred_median_looks_as_far_ahead_as_back(values: list[float], half: int) -> None:
    expected = [median(values[max(0, i - half) : i + half + 1], 1) for i in range(len(values))]
    found = rolling_median(np.array(values, dtype=float), 2 * half + 1, center=True)
    np.testing.assert_array_equal(found, expected)


@given(
    rows=st.lists(st.tuples(any_float, any_float), max_size=40),
    window=st.sampled_from([1, 2, 4, 8, 16]),
)
def test_the_highest_before_equals_a_plain_maximum(
    rows: list[tuple[float, float]], window: int
) -> None:
    values = np.array(rows, dtype=float).reshape(-1, 2).T.copy()
    kept = values.copy()
    found = highest_before(values, window)
    np.testing.assert_array_equal(values, kept)
    for block, step in np.ndindex(values.shape):
        past = values[block, max(0, step - window) : step].tolist()
        known = len(past) == window and not any(math.isnan(v) for v in past)
        assert found[block, step] == pytest.approx(max(past) if known else math.nan, nan_ok=True)


@given(marks=flags, length=st.integers(1, 5))
def test_spans_are_the_unbroken_runs(marks: list[bool], length: int) -> None:
    text = "".join("x" if mark else "." for mark in marks)
    expected, place = [], 0
    for part in text.replace(".", " . ").split():
        if part != "." and len(part) >= length:
            expected.append((place, place + len(part)))
        place += len(part)
    array = np.array(marks, dtype=bool)
    assert list(spans(array, length)) == expected
    assert first_span(array, length) == (expected[0] if expected else None)
    assert first_to_last(array, length) == ((expected[0][0], expected[-1][1]) if expected else None)


@given(above=any_float, below=any_float)
def test_a_ratio_is_known_where_both_numbers_say_something(above: float, below: float) -> None:
    found = float(ratio_of(above, below))
    if not math.isfinite(above) or not below > 0:
        assert math.isnan(found)
    else:
        with np.errstate(over="ignore"):
            assert found == np.float64(above) / np.float64(below)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *(
            (0.0021, "0.0021"),
            (41.23, "41.2"),
            (3e-6, "3e-6"),
            (2e12, "2e12"),
            (-1.5e-7, "-1.5e-7"),
            (1234.0, "1.23e3"),
        ),
        *((0.0, "0"), (None, "unknown"), (math.nan, "unknown"), (math.inf, "inf")),
    ],
)
def test_numbers_as_they_stand_in_a_sentence(value: float | None, text: str) -> None:
    assert brief(value) == text


def test_a_number_has_as_many_digits_as_asked() -> None:
    assert (brief(0.12345, 2), brief(123456.0, 2)) == (
        "0.12",
        "1.2e5",
    )


def test_counts_with_their_noun() -> None:
    assert [count(n, "step") for n in (0, 1, 2)] == ["0 steps", "1 step", "2 steps"]
