"""Rules that others use, on the same traces: the first position at which each would have raised an alarm.

Where the trace lacks the quantity of the original, the nearest takes its place; each docstring says which. All of
them are called with what their authors ship as defaults.
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
    """Return where the loss is not finite, or rises to a distance of twice its running mean or more.

    Source: `lightning.fabric.utilities.spike.SpikeDetection`: window=10, warmup=1, rtol=2.0, finite_only=True; a loss
    that is not above the one before is never a spike. The step's loss stands for that of the batch.
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
    """Return where loss or gradient norm is not finite, or six deviations above the mean of the last 100 steps.

    Source: common practice in the training of language models; no single one. It begins after 10 steps.
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
    """Return where a block's gradient vanishes, a value is not finite, or an update is out of proportion.

    Source: SageMaker Debugger's rules VanishingGradient (mean |g| of a tensor below 1e-7), ExplodingTensor (only what
    is not finite) and WeightUpdateRatio (outside 1e-8 to 10). The root mean square of a block's gradient, which is
    never below its mean, stands for mean |g| of a tensor, ratios of blocks for those of tensors; steps with a
    learning rate of 0 are left out.
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
    """Return where the loss has not decreased over 10 steps, looked at every 10 steps.

    Source: SageMaker Debugger's rule LossNotDecreasing: num_steps=10, diff_percent=0.1 (less than 0.1 percent down).
    """
    loss = run.series.loss
    return next(
        (row for row in range(10, loss.size, 10) if not loss[row] < (1 - 0.001) * loss[row - 10]),
        None,
    )


def autotrainer(run: LabeledRun) -> int | None:
    """Return where gradients explode, vanish or die, or the loss is 1000 or more, looked at after every epoch.

    Source: AUTOTRAINER (Zhang et al., ICSE 2021), `utils/monitor.py`: first over last norm above 70, or below 1e-3
    with a first norm below 1e-4; 0.7 of the gradient exactly 0; anything not finite. First and last block stand for
    first and last kernel, blocks whose norm is 0 for elements that are; its accuracy conditions cannot be told from
    a trace and are left out.
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
    """Whether one step's gradients explode, vanish or die in the terms of AUTOTRAINER."""
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
