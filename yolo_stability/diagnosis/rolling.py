"""Vector functions used by rules: running medians, spans and ratios."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from yolo_stability.trace.arrays import Bools, Floats, Norms

__all__ = [
    "first_span",
    "first_to_last",
    "highest_before",
    "ratio_of",
    "rolling_median",
    "spans",
    "swing",
    "usual_before",
]


def rolling_median(
    values: Floats, window: int, *, minimum: int = 1, center: bool = False
) -> Floats:
    """Return the running median over the finite values of a window; NaN below the minimum."""
    import polars as pl

    # polars' own `fill_nan` would take longer than the medians of a few hundred steps
    known = np.where(np.isfinite(values), values, np.nan)
    series = pl.Series(known, dtype=pl.Float64, nan_to_null=True)
    rolled: Floats = series.rolling_median(window, min_samples=minimum, center=center).to_numpy()
    return rolled


def usual_before(values: Floats, window: int, minimum: int) -> Floats:
    """Return the running median of the steps before each step, excluding the step itself."""
    usual = np.full(values.size, np.nan)
    usual[1:] = rolling_median(values, window, minimum=minimum)[:-1]
    return usual


def highest_before(values: Norms, window: int) -> Norms:
    """Return the maximum of the `window` steps before each step; NaN if any of them is unknown.

    Args:
        values: Float array whose last axis is the steps.
        window: A power of two.

    Example:
        >>> highest_before(np.array([1.0, 3.0, 2.0, 0.0]), 2).tolist()
        [nan, nan, 3.0, 3.0]
    """
    top = values.copy()
    reach = 1
    while reach < window:  # each pass doubles the range of the maximum
        top[..., reach:] = np.maximum(top[..., reach:], top[..., :-reach])
        reach *= 2
    before = np.full_like(top, np.nan)
    before[..., window:] = top[..., window - 1 : -1]
    return before


def spans(flags: Bools, length: int = 1) -> Iterator[tuple[int, int]]:
    """Yield start and end of every sequence of set flags that is long enough.

    Example:
        >>> list(spans(np.array([True, True, False, True]), length=2))
        [(0, 2)]
    """
    if not flags.any():
        return
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    begins, ends = edges[::2], edges[1::2]
    for i in np.flatnonzero(ends - begins >= length):
        yield int(begins[i]), int(ends[i])


def first_span(flags: Bools, length: int) -> tuple[int, int] | None:
    """Return start and end of the first sequence of set flags that is long enough, or None."""
    return next(spans(flags, length), None)


def first_to_last(flags: Bools, length: int) -> tuple[int, int] | None:
    """Return start of the first and end of the last sequence that is long enough, or None."""
    found = list(spans(flags, length))
    return (found[0][0], found[-1][1]) if found else None


def ratio_of(values: npt.ArrayLike, reference: npt.ArrayLike) -> Floats:
    """Return values over a reference; NaN if either is not finite or the reference is not above 0.

    Example:
        >>> ratio_of([4.0, 1.0], [2.0, 0.0]).tolist()
        [2.0, nan]
    """
    above, below = np.asarray(values, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = above / below
    known: Floats = np.where(np.isfinite(above) & (below > 0), ratio, np.nan)
    return known


def swing(values: Floats, window: int, floor: float = 0.0) -> Floats:
    """Return the median change from step to step over the median, in a window up to each step.

    Args:
        values: (S,) the quantity.
        window: Steps per median; NaN until there are as many.
        floor: Lower bound of the median, since fluctuations around 0 have no relative size.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        change = np.abs(np.diff(values, prepend=np.nan))
    middle = np.maximum(np.abs(rolling_median(values, window)), floor)
    return ratio_of(rolling_median(change, window, minimum=window - 1), middle)
