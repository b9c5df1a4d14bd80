"""Statistics for the comparison of arms: rates, medians and differences with confidence intervals.

All functions are deterministic and independent of the order of their values.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from yolo_stability.benchmarks.rows import Interval

__all__ = ["bootstrap", "boschloo", "clustered", "paired_differences", "paired_ratios", "wilson"]

CONFIDENCE = 0.95
_RESAMPLES = 10_000
_EXACT = 6  # 6**6 = 46,656 resamples: up to here all of them are listed instead of drawn

Floats = npt.NDArray[np.float64]


def wilson(hits: int, runs: int) -> Interval:
    """Return a proportion with its 95 % Wilson score interval.

    Unlike the normal approximation, the interval does not collapse for proportions of 0 and 1. See
    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).

    Args:
        hits: Number of runs with the event.
        runs: Total number of runs; 0 gives neither value nor bounds.

    Example:
        >>> interval = wilson(0, 3)
        >>> interval.value, round(interval.low, 3), round(interval.high, 3)
        (0.0, 0.0, 0.561)
    """
    if runs == 0:
        return Interval(value=None)
    from scipy.stats import binomtest

    interval = binomtest(hits, runs).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(value=hits / runs, low=float(interval.low), high=float(interval.high))


def boschloo(hits: int, runs: int, control_hits: int, control_runs: int) -> float | None:
    """Return the two-sided p-value of Boschloo's exact test of two proportions.

    See Boschloo, "Raised conditional level of significance for the 2 x 2-table when testing the
    equality of two probabilities", Statistica Neerlandica 24 (1970).

    Args:
        hits: Number of runs of the arm with the event.
        runs: Number of runs of the arm.
        control_hits: Number of runs of the control with the event.
        control_runs: Number of runs of the control.

    Returns:
        The p-value, rounded to 6 digits; None if arm or control has fewer than two runs.

    Example:
        >>> boschloo(3, 3, 0, 3)
        0.03125
        >>> boschloo(1, 1, 0, 3) is None
        True
    """
    if min(runs, control_runs) < 2:
        return None
    if hits + control_hits in (0, runs + control_runs):
        return 1.0  # no difference at all, for which scipy returns NaN
    from scipy.stats import boschloo_exact

    table = [[hits, control_hits], [runs - hits, control_runs - control_hits]]
    # The p-value is a numerical maximum, accurate to about 6 digits.
    return min(1.0, round(float(boschloo_exact(table).pvalue), 6))


def bootstrap(
    values: Iterable[float | None], statistic: Literal["median", "mean"] = "median"
) -> Interval:
    """Return the median or mean of one value per seed with its 95 % percentile bootstrap interval.

    Paired comparisons pass one ratio or difference per seed, so that seeds are resampled. With two
    values the interval is their range, and with three it is hardly narrower.

    Args:
        values: One value per seed; None and non-finite values are ignored.
        statistic: Statistic to estimate.

    Returns:
        The estimate; its bounds are None with fewer than two values.

    Example:
        >>> bootstrap([1.0, 4.0, None, 2.0])
        Interval(value=2.0, low=1.0, high=4.0)
    """
    known = np.sort(
        np.array([v for v in values if v is not None and math.isfinite(v)], dtype=np.float64)
    )
    if not known.size:
        return Interval(value=None)
    estimate = float(_center(known[None, :], statistic)[0])
    if known.size < 2:
        return Interval(value=estimate)
    return _between(estimate, _center(known[_draws(known.size)], statistic))


def clustered(values: Sequence[float], clusters: Sequence[Hashable]) -> Interval:
    """Return the mean of clustered values with its 95 % percentile bootstrap interval.

    Whole clusters are resampled, so that dependent values within a cluster do not narrow the
    interval.

    Args:
        values: Finite values.
        clusters: Cluster of each value, such as its seed.

    Returns:
        The estimate; its bounds are None with fewer than two clusters.

    Example:
        >>> clustered([1.0, 1.0, 3.0, 3.0], clusters=[0, 0, 1, 1])
        Interval(value=2.0, low=1.0, high=3.0)
    """
    if not values:
        return Interval(value=None)
    places = {cluster: i for i, cluster in enumerate(dict.fromkeys(clusters))}
    sums, counts = np.zeros(len(places)), np.zeros(len(places))
    for value, cluster in zip(values, clusters, strict=True):
        sums[places[cluster]] += value
        counts[places[cluster]] += 1
    estimate = float(sums.sum() / counts.sum())
    if len(places) < 2:
        return Interval(value=estimate)
    order = np.lexsort((counts, sums))  # independent of the order of the values
    drawn = order[_draws(len(places))]
    return _between(estimate, sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))


def paired_ratios(
    values: Sequence[float | None], control: Sequence[float | None]
) -> list[float | None]:
    """Return each value divided by the control's value for the same seed.

    Args:
        values: Values of the arm; None if missing.
        control: Values of the control with the same seeds; None if missing.

    Returns:
        The ratios; None where a value is missing, the control's is 0 or the ratio is not finite.

    Example:
        >>> paired_ratios([2.0, 3.0, None], [4.0, 0.0, 1.0])
        [0.5, None, None]
    """
    return [
        a / b if a is not None and b is not None and b != 0 and math.isfinite(a / b) else None
        for a, b in zip(values, control, strict=True)
    ]


def paired_differences(
    values: Sequence[float | None], control: Sequence[float | None]
) -> list[float | None]:
    """Return each value minus the control's value for the same seed.

    Args:
        values: Values of the arm; None if missing.
        control: Values of the control with the same seeds; None if missing.

    Returns:
        The differences; None where a value is missing.

    Example:
        >>> paired_differences([2.0, 3.0, None], [4.0, 0.0, 1.0])
        [-2.0, 3.0, None]
    """
    return [None if a is None or b is None else a - b for a, b in zip(values, control, strict=True)]


def _between(estimate: float, draws: Floats) -> Interval:
    """Return an estimate with the percentile bounds of its resamples."""
    tail = 100 * (1 - CONFIDENCE) / 2
    # No interpolation between resamples, which would narrow the interval of few values.
    low, high = np.percentile(draws, [tail, 100 - tail], method="inverted_cdf")
    return Interval(value=estimate, low=float(low), high=float(high))


def _draws(count: int) -> npt.NDArray[np.int64]:
    """Return resamples as indices, shape (resamples, count): all if few, else random ones."""
    if count <= _EXACT:
        return np.array(list(itertools.product(range(count), repeat=count)), dtype=np.int64)
    return np.random.default_rng(0).integers(0, count, (_RESAMPLES, count))


def _center(samples: Floats, statistic: Literal["median", "mean"]) -> Floats:
    middle: Floats = (
        np.median(samples, axis=1) if statistic == "median" else np.mean(samples, axis=1)
    )
    return middle
