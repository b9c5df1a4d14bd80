"""Baseline detectors from other tools: the position of the first alarm in a trace.

Where a trace lacks the quantity of the original rule, the closest recorded quantity replaces it;
each docstring names the substitution. All rules use the defaults of their authors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from yolo_stability.benchmarks.labeled_runs import LabeledRun
from yolo_stability.studies.fault_detection.onset import first_true
from yolo_stability.trace.arrays import Floats

__all__ = [
    "NAIVE",
    "autotrainer",
    "debugger_loss",
    "debugger_tensors",
    "lightning_spike",
    "six_sigma",
]

_ROUNDING = 1e-12


def lightning_spike(run: LabeledRun) -> int | None:
    """Return where the loss is not finite, or spikes to twice its running mean or more.

    Source: `lightning.fabric.utilities.spike.SpikeDetection` with window=10, warmup=1, rtol=2.0,
    finite_only=True; a loss that does not exceed the previous one is never a spike. The loss of the
    step replaces that of the batch.
    """
    loss = run.series.loss
    for row in range(1, loss.size):
        mean = loss[max(0, row - 10) : row].mean()
        if not np.isfinite(loss[row]):
            return row
        if loss[row] > loss[row - 1] and abs(loss[row] - mean) >= abs(2.0 * mean):
            return row
    return None


def six_sigma(run: LabeledRun) -> int | None:
    """Return where loss or gradient norm is not finite, or exceeds the recent mean by 6 sigma.

    Mean and standard deviation are those of the last 100 steps; the rule starts after 10 steps.
    Source: common practice in the training of language models.
    """
    found = [first_true(run.bad)]
    for values in (run.series.loss, run.series.norm):
        for row in range(10, values.size):
            past = values[max(0, row - 100) : row]
            if values[row] > past.mean() + 6 * max(
                float(past.std()), _ROUNDING * abs(float(past.mean()))
            ):
                found.append(row)
                break
    return _first(found)


def debugger_tensors(run: LabeledRun) -> int | None:
    """Return where a gradient vanishes, a value is not finite, or an update ratio is out of range.

    Source: the SageMaker Debugger rules VanishingGradient (mean |g| of a tensor below 1e-7),
    ExplodingTensor (non-finite values only) and WeightUpdateRatio (outside 1e-8 to 10). The root
    mean square of the gradient of a block, which is never below its mean, replaces the mean |g| of
    a tensor, and ratios of blocks replace those of tensors. Steps with a learning rate of 0 are
    excluded.
    """
    import polars as pl

    sizes = {block.name: max(1, block.numel) for block in run.trace.header.blocks}
    numel = np.array([sizes.get(name, 1) for name in run.series.names], dtype=np.float64)
    with np.errstate(invalid="ignore"):
        vanished = np.asarray((run.series.block_norm / np.sqrt(numel)[:, None] < 1e-7).any(axis=0))
    blocks, ratio = run.trace.blocks, pl.col("update_ratio")
    moving = (
        set(run.series.step[run.series.lr > 0].tolist())
        if np.isfinite(run.series.lr).any()
        else None
    )
    odd = blocks.filter((ratio > 10) | (ratio < 1e-8))["step"].unique().to_list()
    odd_rows = np.isin(run.series.step, [step for step in odd if moving is None or step in moving])
    return _first([first_true(run.bad), first_true(vanished), first_true(odd_rows)])


def debugger_loss(run: LabeledRun) -> int | None:
    """Return where the loss has not decreased over 10 steps, checked every 10 steps.

    Source: the SageMaker Debugger rule LossNotDecreasing with num_steps=10, diff_percent=0.1 (a
    decrease of less than 0.1 percent).
    """
    loss = run.series.loss
    return next(
        (row for row in range(10, loss.size, 10) if not loss[row] < (1 - 0.001) * loss[row - 10]),
        None,
    )


def autotrainer(run: LabeledRun) -> int | None:
    """Return where gradients explode, vanish or die, or the loss is 1000 or more, per epoch.

    Source: AUTOTRAINER (Zhang et al., ICSE 2021), `utils/monitor.py`: first over last norm above
    70, or below 1e-3 with a first norm below 1e-4; 0.7 of the gradient exactly 0; any non-finite
    value. First and last block replace first and last kernel, blocks with norm 0 replace elements
    that are 0. Its conditions on accuracy are excluded, because a trace does not contain it.
    """
    series = run.series
    sizes = {block.name: max(1, block.numel) for block in run.trace.header.blocks}
    numel = np.array([sizes.get(name, 1) for name in series.names], dtype=np.float64)
    seen = 0
    for row in np.flatnonzero(np.append(np.diff(series.epoch) != 0, True)).tolist():
        norms = series.block_norm[:, row].astype(np.float64)
        epoch_loss, seen = series.loss[seen : row + 1], row + 1
        if run.bad[: row + 1].any() or _out_of_range(norms, numel) or epoch_loss.mean() >= 1e3:
            return row
    return None


def _out_of_range(norms: Floats, numel: Floats) -> bool:
    """Return whether the gradients of a step explode, vanish or die by the rules of AUTOTRAINER."""
    known = norms[~np.isnan(norms)]
    if not known.size:
        return False
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = known[0] / known[-1]
    dead = numel[norms == 0].sum() / numel[~np.isnan(norms)].sum()
    return bool(rate > 70 or (rate < 1e-3 and known[0] < 1e-4) or dead >= 0.7)


def _first(rows: list[int | None]) -> int | None:
    return min((row for row in rows if row is not None), default=None)


NAIVE: Mapping[str, Callable[[LabeledRun], int | None]] = {
    "Lightning SpikeDetection": lightning_spike,
    "6 sigma": six_sigma,
    "SageMaker Debugger, tensors": debugger_tensors,
    "SageMaker Debugger, loss": debugger_loss,
    "AUTOTRAINER": autotrainer,
}
