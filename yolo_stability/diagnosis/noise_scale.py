"""The gradient noise scale tr(Sigma)/|G|^2, from the norms of a micro-batch's gradient and of the sum of several.

McCandlish et al. 2018, arXiv 1812.06162, appendix A: the squared norm of a gradient that averages few examples is
larger than that of one that averages many, by noise alone; two such norms give unbiased estimates of signal and noise.
Here the small batch is the first of the k micro-batches that an optimizer step sums, and the large one is all k, so
that everything is told in micro-batches: |G|^2 is the squared norm of the expected gradient of one, tr(Sigma) the
variance of one around it, and their ratio the number of micro-batches at which noise equals signal. Times the images
of a micro-batch it is in images.
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
    """Unbiased estimates at single steps, far too uncertain each; only their averages tell something.

    Attributes:
        rows: (n,) positions of the steps that were sampled.
        signal: (n,) |G|^2 of one micro-batch; below zero where noise would have it so.
        noise: (n,) tr(Sigma) of one micro-batch.
        summed: (n,) micro-batches that the step sums.
    """

    rows: Ints
    signal: Floats
    noise: Floats
    summed: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseScale:
    """The gradient noise scale over a stretch of a run.

    Attributes:
        signal: |G|^2 of one micro-batch.
        noise: tr(Sigma) of one micro-batch.
        steps: Sampled steps that it is an average of.
    """

    signal: float
    noise: float
    steps: int

    @property
    def micro_batches(self) -> float:
        """The noise scale in micro-batches; infinite where no signal shows above noise, NaN without steps."""
        if not self.steps:
            return math.nan
        return self.noise / self.signal if self.signal > 0 else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """How far the noise in the gradient of a step exceeds its signal, over windows of sampled steps.

    The noise in a step's gradient over its signal is the gradient noise scale over the nominal batch.

    Attributes:
        rows: (n,) position of the last step of each window.
        least: (n,) the ratio less its uncertainty; NaN where nothing can be said.
    """

    rows: Ints
    least: Floats


def step_noise(
    micro: Floats, total: Floats, summed: Ints, epoch: Floats | float = math.inf
) -> StepNoise:
    """Return the estimates of each step for which both norms are known.

    Micro-batches of one epoch are drawn without replacement: their errors cancel the more, the more of the epoch a
    step sums, which two norms alone would take for a weak signal. For exchangeable micro-batches whose errors sum to
    zero over the N of an epoch the expectations are known, and the estimates are unbiased again.

    Args:
        micro: (S,) norm of the gradient of the first micro-batch; NaN where not sampled.
        total: (S,) norm of the sum over all.
        summed: (S,) how many; at 1 there is nothing to compare.
        epoch: Micro-batches of an epoch, N, one for all or (S,); infinite for draws with replacement.
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
    """Return the ratio of averages over all steps, since an average of ratios would be biased."""
    steps = int(estimates.rows.size)
    signal, noise = (
        float(np.mean(v)) if steps else math.nan for v in (estimates.signal, estimates.noise)
    )
    return NoiseScale(signal=signal, noise=noise, steps=steps)


def excess_of(estimates: StepNoise, window: int, hop: int, errors: float) -> Excess:
    """Return for every few sampled steps what can be said of those before them.

    The signal of a noisy step is the small difference of two large numbers, so that the plain ratio jumps to any
    value; what is told instead is the ratio's low end: noise less, signal plus so many of their standard errors.

    Args:
        estimates: Of single steps.
        window: Sampled steps over which each average is taken, at least 2.
        hop: Sampled steps from one window to the next.
        errors: Standard errors to allow for.
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
    """Return mean and so many standard errors of each window."""
    parts = np.lib.stride_tricks.sliding_window_view(values, window)[::hop]
    with np.errstate(over="ignore", invalid="ignore"):
        bound: Floats = parts.mean(axis=1) + errors * parts.std(axis=1, ddof=1) / math.sqrt(window)
    return bound


def epoch_length(run: RunSeries) -> Floats:
    """Return for each step the most iterations of one epoch that were seen up to it.

    Args:
        run: The run; a window that begins within an epoch sees the rest of that.
    """
    if not run.step.size:
        return np.zeros(0)
    begins = np.concatenate(([True], (np.diff(run.epoch) != 0) | (np.diff(run.attempt) != 0)))
    upto = np.cumsum(run.accumulate, dtype=np.float64)
    before = upto - run.accumulate
    first = np.maximum.accumulate(np.where(begins, np.arange(run.step.size), 0))
    longest: Floats = np.maximum.accumulate(upto - before[first])
    return longest
