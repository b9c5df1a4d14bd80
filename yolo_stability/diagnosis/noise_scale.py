"""Gradient noise scale tr(Sigma)/|G|^2, from the gradient norms of one and several micro-batches.

McCandlish et al. 2018, arXiv 1812.06162, appendix A: the squared norm of a gradient averaged over
few examples is larger than that of one averaged over many, by noise alone; two such norms give
unbiased estimates of signal and noise. Here the small batch is the first of the k micro-batches
that an optimizer step sums, and the large one is all k. All quantities are per micro-batch: |G|^2
is the squared norm of the expected gradient of one, tr(Sigma) the variance of one around it, and
their ratio the number of micro-batches at which noise equals signal. Multiplied by the images of a
micro-batch it is in images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from yolo_stability.diagnosis.rolling import ratio_of
from yolo_stability.trace.arrays import Bools, Floats, Ints, RunSeries

__all__ = [
    "Excess",
    "NoiseScale",
    "StepNoise",
    "epoch_length",
    "excess_of",
    "noise_scale",
    "step_noise",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNoise:
    """Unbiased estimates at single steps; only their averages are informative.

    Attributes:
        rows: (n,) positions of the sampled steps.
        signal: (n,) |G|^2 of one micro-batch; noise may make it negative.
        noise: (n,) tr(Sigma) of one micro-batch.
        summed: (n,) number of micro-batches that the step sums.
    """

    rows: Ints
    signal: Floats
    noise: Floats
    summed: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseScale:
    """The gradient noise scale over a range of steps.

    Attributes:
        signal: |G|^2 of one micro-batch.
        noise: tr(Sigma) of one micro-batch.
        steps: Number of averaged steps.
    """

    signal: float
    noise: float
    steps: int

    @property
    def micro_batches(self) -> float:
        """The noise scale in micro-batches; infinite without a signal, NaN without steps."""
        if not self.steps:
            return math.nan
        return self.noise / self.signal if self.signal > 0 else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """Ratio of noise to signal in the gradient of a step, over windows of sampled steps.

    It equals the gradient noise scale divided by the nominal batch.

    Attributes:
        rows: (n,) position of the last step of each window.
        least: (n,) lower bound of the ratio; NaN if undefined.
    """

    rows: Ints
    least: Floats


def step_noise(
    micro: Floats, total: Floats, summed: Ints, epoch: Floats | float = math.inf
) -> StepNoise:
    """Estimate signal and noise at each step for which both norms are known.

    Micro-batches of one epoch are drawn without replacement: their errors cancel increasingly with
    the share of the epoch that a step sums, which two norms alone would interpret as a weak signal.
    For exchangeable micro-batches whose errors sum to zero over the N of an epoch the expectations
    are known, and the corrected estimates are unbiased.

    Args:
        micro: (S,) gradient norm of the first micro-batch; NaN if not sampled.
        total: (S,) norm of the sum over all micro-batches.
        summed: (S,) number of micro-batches; with 1 there is nothing to compare.
        epoch: Micro-batches per epoch, N, a scalar or (S,); infinite for draws with replacement.

    Example:
        >>> micro, total = np.array([2.0]), np.array([3.0])
        >>> found = step_noise(micro, total, np.array([2]))
        >>> found.signal.tolist(), found.noise.tolist()
        ([0.5], [3.5])
    """
    with np.errstate(over="ignore", invalid="ignore"):
        small, large, k = micro**2, total**2, summed.astype(np.float64)
        known: Bools = np.isfinite(small) & np.isfinite(large) & (summed >= 2)
        small, large, k = small[known], large[known], k[known]
        signal = (large - k * small) / (k * (k - 1))
        noise = small - signal
        share = 1.0 / np.broadcast_to(np.asarray(epoch, dtype=np.float64), known.shape)[known]
        signal, noise = signal + noise * share, noise * (1.0 - share)
    return StepNoise(rows=np.flatnonzero(known), signal=signal, noise=noise, summed=summed[known])


def noise_scale(estimates: StepNoise) -> NoiseScale:
    """Return the ratio of averages over all steps, since an average of ratios is biased."""
    steps = int(estimates.rows.size)
    signal, noise = (
        float(np.mean(v)) if steps else math.nan for v in (estimates.signal, estimates.noise)
    )
    return NoiseScale(signal=signal, noise=noise, steps=steps)


def excess_of(estimates: StepNoise, window: int, hop: int, errors: float) -> Excess:
    """Return a lower bound of noise over signal for windows of sampled steps.

    The signal of a noisy step is the small difference of two large numbers, so the ratio itself
    varies widely. The lower bound reduces the noise and increases the signal by a number of
    standard errors.

    Args:
        estimates: Estimates at single steps.
        window: Sampled steps per average, at least 2.
        hop: Sampled steps between consecutive windows.
        errors: Number of standard errors.
    """
    if estimates.rows.size < window:
        return Excess(rows=np.zeros(0, dtype=np.int64), least=np.zeros(0))
    low, high = (
        _bound(values, window, hop, side)
        for values, side in (
            (estimates.noise / estimates.summed, -errors),
            (estimates.signal, errors),
        )
    )
    return Excess(rows=estimates.rows[window - 1 :: hop], least=ratio_of(low, high))


def _bound(values: Floats, window: int, hop: int, errors: float) -> Floats:
    """Return the mean plus a number of standard errors of each window."""
    parts = np.lib.stride_tricks.sliding_window_view(values, window)[::hop]
    with np.errstate(over="ignore", invalid="ignore"):
        bound: Floats = parts.mean(axis=1) + errors * parts.std(axis=1, ddof=1) / math.sqrt(window)
    return bound


def epoch_length(run: RunSeries) -> Floats:
    """Return for each step the largest number of iterations per epoch observed so far.

    Args:
        run: The run; a window that starts within an epoch contains only the rest of it.
    """
    if not run.step.size:
        return np.zeros(0)
    begins = np.concatenate(([True], (np.diff(run.epoch) != 0) | (np.diff(run.attempt) != 0)))
    upto = np.cumsum(run.accumulate, dtype=np.float64)
    before = upto - run.accumulate
    first = np.maximum.accumulate(np.where(begins, np.arange(run.step.size), 0))
    longest: Floats = np.maximum.accumulate(upto - before[first])
    return longest
