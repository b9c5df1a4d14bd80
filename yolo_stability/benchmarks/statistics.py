"""Rates, medians and differences with how sure they are: the few statistics that a comparison of arms needs.

Everything is deterministic: same numbers in any order, same result.
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
    """Return a share with Wilson's score interval, which unlike the textbook one does not shrink to nothing at 0 or 1.

    Args:
        hits: Runs that did it.
        runs: Runs in all; with none there is neither share nor interval.
    """
    if runs == 0:
        return Interval(value=None)
    from scipy.stats import binomtest

    interval = binomtest(hits, runs).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(value=hits / runs, low=float(interval.low), high=float(interval.high))


def boschloo(hits: int, runs: int, control_hits: int, control_runs: int) -> float | None:
    """Return the two-sided p-value of Boschloo's exact test of two rates.

    Args:
        hits: Runs of the arm that did it.
        runs: Runs of the arm.
        control_hits: Runs of the control that did it.
        control_runs: Runs of the control.

    Returns:
        None when either has fewer than two runs: no table could say anything.
    """
    if min(runs, control_runs) < 2:
        return None
    if hits + control_hits in (0, runs + control_runs):
        return 1.0  # all did the same; scipy has NaN for it
    from scipy.stats import boschloo_exact

    table = [[hits, control_hits], [runs - hits, control_runs - control_hits]]
    # what its numerical maximum is good for
    return min(1.0, round(float(boschloo_exact(table).pvalue), 6))


def bootstrap(
    values: Iterable[float | None], statistic: Literal["median", "mean"] = "median"
) -> Interval:
    """Return the median or mean of one value per seed with its percentile bootstrap interval.

    Paired comparisons hand over one ratio or difference per seed, so that seeds are what is drawn. With two values
    the interval is the range of both, and with three hardly less: as wide as so little deserves.

    Args:
        values: A value per seed; those that are missing or not finite are left out.
        statistic: What to estimate.

    Returns:
        Bounds are None below two values.
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
    """Return the mean of values that belong together in clusters with its percentile bootstrap interval.

    Whole clusters are drawn, so that values of one cluster, which are no independent evidence, do not narrow it.

    Args:
        values: The values, finite.
        clusters: The cluster of each value, such as its seed.

    Returns:
        Bounds are None below two clusters.
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
    order = np.lexsort((counts, sums))  # same numbers in any order, same result
    drawn = order[_draws(len(places))]
    return _between(estimate, sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))


def paired_ratios(
    values: Sequence[float | None], control: Sequence[float | None]
) -> list[float | None]:
    """Return each value over that of the control with the same seed; None where either is missing or that is 0."""
    return [
        a / b if a is not None and b is not None and b != 0 and math.isfinite(a / b) else None
        for a, b in zip(values, control, strict=True)
    ]


def paired_differences(
    values: Sequence[float | None], control: Sequence[float | None]
) -> list[float | None]:
    """Return each value minus that of the control with the same seed; None where either is missing."""
    return [None if a is None or b is None else a - b for a, b in zip(values, control, strict=True)]


def _between(estimate: float, draws: Floats) -> Interval:
    """Return an estimate with the bounds that draws of it give."""
    tail = 100 * (1 - CONFIDENCE) / 2
    # a quantile of the draws themselves: interpolation would narrow the interval of few values
    low, high = np.percentile(draws, [tail, 100 - tail], method="inverted_cdf")
    return Interval(value=estimate, low=float(low), high=float(high))


def _draws(count: int) -> npt.NDArray[np.int64]:
    """Return resamples as indices, (resamples, count): all where they are few, else some, drawn by a fixed seed."""
    if count <= _EXACT:
        return np.array(list(itertools.product(range(count), repeat=count)), dtype=np.int64)
    return np.random.default_rng(0).integers(0, count, (_RESAMPLES, count))


def _center(samples: Floats, statistic: Literal["median", "mean"]) -> Floats:
    middle: Floats = (
        np.median(samples, axis=1) if statistic == "median" else np.mean(samples, axis=1)
    )
    return middle
