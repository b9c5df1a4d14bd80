"""Bisection against a known edge: found within one step, in few probes, whatever some runs fail to
say."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolo_stability.studies.frontier.bisection import (
    Edge,
    Word,
    edge_of,
    joint_edge,
    log_values,
    next_probes,
    stable_again,
    steps_for,
    whole_values,
)

ENDS = st.floats(1e-6, 1e6)


def searched(truth: dict[int, Word]) -> dict[int, Word]:
    """Ask until nothing more is wanted; a probe asked twice would be a run for nothing."""
    known: dict[int, Word] = {}
    while places := next_probes(known, len(truth) - 1):
        assert not set(places) & set(known)
        known |= {place: truth[place] for place in places}
    return known


@given(st.integers(1, 400).flatmap(lambda last: st.tuples(st.just(last), st.integers(1, last))))
def test_the_edge_is_found_exactly_and_cheaply(case: tuple[int, int]) -> None:
    last, threshold = case
    truth: dict[int, Word] = {i: "stable" if i < threshold else "unstable" for i in range(last + 1)}
    known = searched(truth)
    assert edge_of(known, last) == Edge(status="found", stable=threshold - 1, failing=threshold)
    assert len(known) <= 2 + math.ceil(math.log2(last))
    assert stable_again(known) == ()


@given(
    st.lists(
        st.sampled_from(["stable", "unstable", "crashed", "inconclusive"]), min_size=2, max_size=60
    )
)
def test_whatever_runs_say_the_edge_is_between_what_was_seen(words: list[Word]) -> None:
    truth = dict(enumerate(words))
    known = searched(truth)
    edge = edge_of(known, len(words) - 1)
    assert edge.stable is None or truth[edge.stable] == "stable"
    assert edge.failing is None or truth[edge.failing] == "unstable"
    if edge.status == "found":
        assert edge.stable is not None
        assert edge.failing is not None
        between = [truth[i] for i in range(edge.stable + 1, edge.failing)]
        undecided = sum(word in {"crashed", "inconclusive"} for word in known.values())
        assert undecided >= 3 or all(word in {"crashed", "inconclusive"} for word in between)
    else:
        assert (edge.status == "nothing") == (words[0] == "unstable")
        assert edge.status != "everything" or words[-1] == "stable"


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ({0: "unstable", 9: "unstable"}, "nothing"),
        ({0: "unstable", 9: "stable"}, "nothing"),
        ({0: "stable", 9: "stable"}, "everything"),
        ({0: "crashed", 9: "unstable"}, "undecided"),
        ({0: "inconclusive", 9: "stable"}, "everything"),
    ],
)
def test_without_two_sides_nothing_more_is_probed(words: dict[int, Word], status: str) -> None:
    assert next_probes(words, 9) == ()
    assert edge_of(words, 9).status == status


def test_a_crash_narrows_nothing_and_the_wider_side_of_it_is_asked() -> None:
    known: dict[int, Word] = {0: "stable", 8: "unstable", 4: "crashed"}
    assert edge_of(known, 8) == Edge(status="found", stable=0, failing=8)
    assert next_probes(known, 8) == (2,)
    assert next_probes({**known, 2: "stable"}, 8) == (6,)
    assert next_probes({**known, 2: "stable", 6: "unstable"}, 8) == (3,)


def test_after_three_silent_runs_no_more_are_spent() -> None:
    known: dict[int, Word] = {
        0: "stable",
        8: "unstable",
        4: "crashed",
        3: "inconclusive",
        5: "crashed",
    }
    assert next_probes(known, 8) == ()
    assert next_probes({**known, 5: "unstable"}, 8) == (1,)


def test_an_end_that_crashed_still_lets_the_edge_be_found() -> None:
    truth: dict[int, Word] = {i: "stable" if i < 3 else "unstable" for i in range(8)} | {
        8: "crashed"
    }
    assert edge_of(searched(truth), 8) == Edge(status="found", stable=2, failing=3)


def test_stable_beyond_a_failure_is_told() -> None:
    words: dict[int, Word] = {
        0: "stable",
        1: "unstable",
        2: "stable",
        3: "unstable",
        4: "crashed",
        5: "stable",
    }
    assert stable_again(words) == (2, 5)
    assert edge_of(words, 5) == Edge(status="found", stable=0, failing=1)


def edge(status: str, stable: int | None, failing: int | None) -> Edge:
    return Edge(status=status, stable=stable, failing=failing)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("edges", "joint"),
    [
        ([edge("found", 5, 6), edge("found", 3, 4), edge("found", 5, 6)], edge("found", 3, 4)),
        ([edge("found", 5, 6), edge("everything", 9, None)], edge("found", 5, 6)),
        ([edge("found", 5, 6), edge("nothing", None, 0)], edge("nothing", None, 0)),
        ([edge("everything", 9, None)] * 2, edge("everything", 9, None)),
        ([edge("everything", 9, None), edge("undecided", 4, None)], edge("undecided", 4, None)),
        ([edge("found", 5, 6), edge("undecided", 2, None)], edge("found", 2, 6)),
        ([edge("found", 5, 6), edge("undecided", None, None)], edge("undecided", None, 6)),
    ],
)
def test_over_seeds_a_value_is_stable_when_all_of_them_are(edges: list[Edge], joint: Edge) -> None:
    assert joint_edge(edges) == joint
    assert joint_edge(edges[::-1]) == joint


@given(ENDS, ENDS, st.floats(1.05, 20))
def test_no_factor_exceeds_the_resolution(start: float, end: float, resolution: float) -> None:
    start, end = float(f"{start:.4g}"), float(f"{end:.4g}")
    if start == end:
        return
    values = log_values(start, end, steps_for(start, end, resolution))
    assert (values[0], values[-1]) == (start, end)
    assert list(values) == sorted(values, reverse=start > end)
    factors = [max(a, b) / min(a, b) for a, b in pairwise(values)]
    assert max(factors) <= resolution * 1.002  # values are rounded to four digits
    assert len(values) - 1 <= abs(math.log(end / start)) / math.log(resolution) + 1.001


@given(st.integers(1, 3000), st.integers(1, 3000), st.floats(1.01, 10))
def test_whole_numbers_are_as_dense_as_they_can_be(start: int, end: int, resolution: float) -> None:
    if start == end:
        return
    values = whole_values(start, end, resolution)
    assert (values[0], values[-1]) == (start, end)
    assert all(value.is_integer() for value in values)
    low_to_high = sorted(values)
    assert list(values) == (low_to_high if start < end else low_to_high[::-1])
    assert all(b - a == 1 or b / a <= resolution + 1e-6 for a, b in pairwise(low_to_high))


def test_a_plain_grid_has_equal_factors_and_no_value_twice() -> None:
    assert log_values(1, 1000, 3) == (1, 10, 100, 1000)
    assert log_values(100, 1, 2) == (100, 10, 1)
    assert log_values(4, 1, 10, whole=True) == (4, 3, 2, 1)
