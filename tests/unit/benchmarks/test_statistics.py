"""Intervals and tests against formulas written out, published values and enumeration."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolo_stability.benchmarks.statistics import (
    bootstrap,
    boschloo,
    clustered,
    paired_differences,
    paired_ratios,
    wilson,
)


@pytest.mark.parametrize(("hits", "runs"), [(0, 1), (2, 2), (0, 5), (1, 3), (7, 10), (81, 263)])
def test_wilson_is_its_formula(hits: int, runs: int) -> None:
    z, p = statistics.NormalDist().inv_cdf(0.975), hits / runs
    middle = (p + z**2 / (2 * runs)) / (1 + z**2 / runs)
    half = z / (1 + z**2 / runs) * math.sqrt(p * (1 - p) / runs + z**2 / (4 * runs**2))
    found = wilson(hits, runs)
    assert (found.value, found.low, found.high) == pytest.approx(
        (p, middle - half, middle + half), abs=1e-12
    )


def test_wilson_is_what_newcombe_printed() -> None:
    # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3
    for hits, runs, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
    ]:
        found = wilson(hits, runs)
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    assert (wilson(0, 0).value, wilson(0, 0).low) == (None, None)


def test_boschloo_of_two_against_none_of_two_is_an_eighth() -> None:
    # By hand: only this table is as extreme; its probability p^2 (1-p)^2 is at most 1/16, and
    # twice that for two sides.
    assert boschloo(2, 2, 0, 2) == pytest.approx(0.125, abs=1e-6)
    assert boschloo(0, 2, 2, 2) == pytest.approx(0.125, abs=1e-6)


@pytest.mark.parametrize(
    "table", [(3, 3, 0, 3), (4, 5, 1, 5), (2, 3, 0, 5), (12, 15, 7, 15), (5, 6, 3, 4)]
)
def test_boschloo_is_the_largest_unconditional_probability_of_fishers_p(
    table: tuple[int, int, int, int],
) -> None:
    assert boschloo(*table) == pytest.approx(enumerated(*table), abs=2e-4)


def test_boschloo_says_nothing_about_one_seed_or_equal_rates() -> None:
    assert boschloo(1, 1, 0, 3) is None
    assert boschloo(1, 3, 0, 1) is None
    assert boschloo(0, 3, 0, 3) == 1.0
    assert boschloo(3, 3, 3, 3) == 1.0


def enumerated(a: int, n: int, b: int, m: int) -> float:
    """Boschloo's test by definition: Fisher's one-sided p, maximized over the common rate."""

    def fisher(x: int, y: int, *, greater: bool) -> float:
        total = math.comb(n + m, x + y)
        ways = [
            (i, math.comb(n, i) * math.comb(m, x + y - i))
            for i in range(n + 1)
            if 0 <= x + y - i <= m
        ]
        return sum(w for i, w in ways if (i >= x if greater else i <= x)) / total

    def side(*, greater: bool) -> float:
        seen = fisher(a, b, greater=greater)
        extreme = [
            (x, y)
            for x, y in itertools.product(range(n + 1), range(m + 1))
            if fisher(x, y, greater=greater) <= seen * (1 + 1e-9)
        ]
        rates = np.linspace(0, 1, 4001)
        weights = sum(
            math.comb(n, x) * math.comb(m, y) * rates ** (x + y) * (1 - rates) ** (n + m - x - y)
            for x, y in extreme
        )
        return float(np.max(weights))

    return min(1.0, 2 * min(side(greater=True), side(greater=False)))


def test_bootstrap_of_few_values_is_that_of_all_resamples() -> None:
    values = [0.9, 0.1, 0.4, 0.7]
    means = sorted(statistics.fmean(draw) for draw in itertools.product(values, repeat=4))
    found = bootstrap(values, "mean")
    assert found.value == pytest.approx(0.525)
    assert (found.low, found.high) == pytest.approx(
        (percentile(means, 2.5), percentile(means, 97.5))
    )
    medians = sorted(statistics.median(draw) for draw in itertools.product(values, repeat=4))
    found = bootstrap(values)
    assert (found.value, found.low, found.high) == pytest.approx(
        (0.55, percentile(medians, 2.5), percentile(medians, 97.5))
    )


def percentile(ordered: list[float], percent: float) -> float:
    """Smallest value that the given percentage of the list does not exceed."""
    return next(v for i, v in enumerate(ordered, 1) if i / len(ordered) >= percent / 100)


def test_bootstrap_of_many_values_is_near_the_normal_interval() -> None:
    values = np.random.default_rng(5).normal(10, 2, 200)
    found, half = bootstrap(values.tolist(), "mean"), 1.96 * values.std(ddof=1) / math.sqrt(200)
    assert found.low == pytest.approx(values.mean() - half, abs=0.05)
    assert found.high == pytest.approx(values.mean() + half, abs=0.05)


def test_bootstrap_of_one_or_no_value_has_no_bounds() -> None:
    one = bootstrap([None, 3.0, math.nan, math.inf])
    assert (one.value, one.low, one.high) == (3.0, None, None)
    assert bootstrap([None]).value is None
    two = bootstrap([1.0, 3.0])
    assert (two.value, two.low, two.high) == (2.0, 1.0, 3.0)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=9).flatmap(
        lambda v: st.tuples(st.just(v), st.permutations(v))
    )
)
def test_bootstrap_is_the_same_in_any_order_and_holds_its_estimate(
    lists: tuple[list[float], list[float]],
) -> None:
    values, shuffled = lists
    found = bootstrap(values)
    assert found == bootstrap(shuffled)
    assert found.low is not None
    assert found.high is not None
    assert found.value is not None
    assert min(values) <= found.low <= found.value <= found.high <= max(values)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=9))
def test_clusters_of_one_value_each_are_the_plain_bootstrap_of_the_mean(
    values: list[float],
) -> None:
    plain, found = bootstrap(values, "mean"), clustered(values, range(len(values)))
    for a, b in ((plain.value, found.value), (plain.low, found.low), (plain.high, found.high)):
        assert a == pytest.approx(b, rel=1e-9, abs=1e-6)


def test_whole_clusters_are_drawn_each_with_its_own_size() -> None:
    """All resamples of two clusters: aa, ab, ba, bb; one in four is beyond any bound."""
    found = clustered([1.0, 1.0, 1.0, 0.0], ["a", "a", "a", "b"])
    assert (found.value, found.low, found.high) == (0.75, 0.0, 1.0)
    again = clustered([0.0, 1.0, 1.0, 1.0], ["b", "a", "a", "a"])
    assert again == found
    assert clustered([1.0, 0.0], ["a", "a"]).low is None
    assert clustered([], []).value is None


def pairs() -> Iterator[tuple[float | None, float | None, float | None, float | None]]:
    yield 6.0, 3.0, 2.0, 3.0
    yield 0.0, 3.0, 0.0, -3.0
    yield None, 3.0, None, None
    yield 3.0, None, None, None
    yield 3.0, 0.0, None, 3.0
    yield 1e300, 1e-300, None, 1e300  # overflows


def test_pairs() -> None:
    a, b, ratios, differences = zip(*pairs(), strict=True)
    assert paired_ratios(a, b) == list(ratios)
    assert paired_differences(a, b) == list(differences)
