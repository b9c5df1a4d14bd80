"""Pure checks of boxes, keypoints and outlines, over everything a JSON may hold."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolo_stability.data.coco.import_report import ReasonCounts
from yolo_stability.data.coco.sanitize import Unusable, clean_box, clean_keypoints, clean_polygons

number = st.one_of(
    st.integers(),
    st.floats(),
    st.floats(-50, 150),
    st.booleans(),
    st.none(),
    st.text(max_size=3),
    st.just(10**400),
)
anything = st.recursive(
    number,
    lambda c: st.lists(c, max_size=8) | st.dictionaries(st.text(max_size=6), c, max_size=3),
    max_leaves=12,
)
SIZE = (100.0, 60.0)


@given(st.one_of(st.lists(number, min_size=4, max_size=4), anything))
def test_a_box_is_inside_with_an_area_or_unusable(value):
    try:
        x, y, width, height = clean_box(value, SIZE, ReasonCounts(), "here")
    except Unusable:
        return
    assert min(x, y) >= 0
    assert min(width, height) > 0
    assert x + width <= SIZE[0] * 1.0001
    assert y + height <= SIZE[1] * 1.0001


@given(st.floats(0, 50), st.floats(0, 30), st.floats(0.01, 50), st.floats(0.01, 30))
def test_a_good_box_is_left_alone(x, y, width, height):
    tally = ReasonCounts()
    assert clean_box([x, y, width, height], SIZE, tally, "here") == pytest.approx(
        [x, y, width, height], abs=1e-9
    )
    assert tally.counts == {}


@given(st.one_of(st.lists(number, min_size=9, max_size=9), anything))
def test_keypoints_are_inside_or_unlabelled(value):
    try:
        points = clean_keypoints(value, 3, SIZE, ReasonCounts(), "here")
    except Unusable:
        return
    assert len(points) == 9
    for x, y, visible in zip(points[::3], points[1::3], points[2::3], strict=True):
        assert visible in {0, 1, 2}
        assert 0 <= x <= SIZE[0]
        assert 0 <= y <= SIZE[1]


@given(anything)
def test_outlines_are_inside(value):
    polygons = clean_polygons(value, SIZE, ReasonCounts(), "here")
    for polygon in polygons if isinstance(polygons, list) else []:
        assert len(polygon) >= 6
        assert all(math.isfinite(v) and 0 <= v <= SIZE[i % 2] for i, v in enumerate(polygon))
