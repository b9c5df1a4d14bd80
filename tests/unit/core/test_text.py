"""Numbers and names as a person reads them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolo_stability.core.text import number, percent, short_name


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0"),
        (1.0, "1.00"),
        (41.25, "41.2"),
        (999.4, "999"),
        (999.6, "1.00e3"),
        (4123.0, "4.12e3"),
        (0.00213, "0.00213"),
        (0.000213, "2.13e-4"),
        (-5.0, "-5.00"),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (1e200, "1.00e200"),
    ],
)
def test_number(value: float | None, text: str) -> None:
    assert number(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False).filter(lambda v: 1e-300 < abs(v) < 1e308))
def test_number_is_right_to_three_digits(value: float) -> None:
    assert float(number(value)) == pytest.approx(value, rel=0.0051)


def test_percent() -> None:
    assert [percent(v) for v in (None, 0.0, 0.0004, 0.1234, 1.0)] == [
        "-",
        "0.0%",
        "<0.1%",
        "12.3%",
        "100.0%",
    ]


@given(st.text(min_size=1), st.integers(1, 40))
def test_short_name_fits(name: str, width: int) -> None:
    assert len(short_name(name, width)) <= width


def test_short_name() -> None:
    assert short_name("model.6 C3k2", 27) == "6 C3k2"
    assert short_name("model.23.cv3 Detect cls", 27) == "23.cv3 Detect cls"
    assert (
        short_name("model.23.one2one_cv4_kpts Pose26 keypoints", 27)
        == "23.one2one_cv4_kpts keypoi…"
    )
    assert (
        short_name("model.23.one2one_cv4_kpts Pose26 keypoints", 30)
        == "23.one2one_cv4_kpts keypoints"
    )
