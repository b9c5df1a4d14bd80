"""Phrases for numbers, causes and findings, shared by HTML, Markdown and plots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from yolo_stability.benchmarks.rows import Interval, RunResultRow
from yolo_stability.core.text import clean, count, number
from yolo_stability.report.run_bins import BinnedRun

__all__ = [
    "CAUSES",
    "SIGNS",
    "amount",
    "estimate_text",
    "range_percent",
    "run_sentence",
    "steps_text",
    "task_name",
]

CAUSES = {
    "learning_rate": "learning rate",
    "batch_noise": "gradient noise from a small batch",
    "normalization": "normalization",
    "initialization": "initialization",
    "activation": "activation",
    "depth": "depth",
    "data": "data",
    "module": "a module that computes NaN",
    "evaluation": "evaluation",
    "settings": "settings",
    "numeric_range": "numeric range",
    "unknown": "unknown",
}
SIGNS = {
    "amp_overflow": "overflow under AMP",
    "clip_saturation": "clipping that removes almost all of the gradient",
    "collapse": "a loss of zero",
    "crash": "a crash",
    "dead_block": "a block without gradient",
    "divergence": "a loss that rises and stays high",
    "dropped_images": "ignored images",
    "exploding": "an exploding gradient",
    "ignored_settings": "a setting without effect",
    "noise": "steps dominated by gradient noise",
    "non_finite": "NaN or Inf",
    "oscillation": "an oscillating loss",
    "recoveries": "a recovery",
    "spike": "a gradient spike",
    "stall": "a loss that does not decrease",
    "update_ratio": "an update as large as the weights",
    "vanishing": "a vanishing gradient",
}
_TASKS = {"detect": "Detection", "pose": "Pose", "segment": "Segmentation", "obb": "Oriented boxes"}


def amount(value: float | None) -> str:
    """Format a number for a sentence: integers in full, others with 3 significant digits."""
    if value is not None and float(value).is_integer() and abs(value) < 1e7:
        return f"{int(value):,}"
    return number(value)


def estimate_text(value: Interval) -> str:
    """Format an estimate with its interval, such as `1.20 (0.90 to 1.60)`; a dash if unknown."""
    if value.value is None:
        return "-"
    if value.low is None or value.high is None:
        return amount(value.value)
    return f"{amount(value.value)} ({amount(value.low)} to {amount(value.high)})"


def range_percent(value: Interval) -> str:
    """Format the interval of a rate, such as `34% to 99%`; empty if there is none."""
    if value.low is None or value.high is None:
        return ""
    return f"{100 * value.low:.0f}% to {100 * value.high:.0f}%"


def task_name(task: str) -> str:
    """Return the name of a task for headings."""
    return _TASKS.get(task, task)


def steps_text(series: BinnedRun, column: int) -> str:
    """Format the steps of a bin: `step 5` or `steps 5 to 7`."""
    first, last = int(series.first[column]), int(series.last[column])
    return f"step {first:,}" if first == last else f"steps {first:,} to {last:,}"


def run_sentence(run: RunResultRow, series: BinnedRun | None) -> str:
    """Describe the curves of a run in one sentence, as a text alternative to the plot."""
    if series is None or not len(series.first):
        return "No step of this run was recorded." + (
            f" It {_end(run)}." if run.outcome != "finished" else ""
        )
    parts = [_course("total gradient norm", series.norm, series.norm_highest)]
    if np.isfinite(series.loss).any():
        parts.append(_course("loss", series.loss, series.loss_highest))
    bad = np.flatnonzero(series.nonfinite > 0)
    parts.append(
        f"NaN or Inf in {steps_text(series, int(bad[0]))}" if len(bad) else "no NaN or Inf"
    )
    if run.skipped:
        parts.append(f"{count(run.skipped, 'step')} skipped by the guard")
    return f"{'; '.join(parts)}; {_end(run)}."


def _course(name: str, values: Any, highest: Any) -> str:
    known = values[np.isfinite(values)]
    if not len(known):
        return f"no finite {name}"
    tops: Sequence[float] = highest[np.isfinite(highest)].tolist() or known.tolist()
    first, last = number(float(known[0])), number(float(known[-1]))
    return f"{name} {first} at the start, {last} at the end, maximum {number(max(tops))}"


def _end(run: RunResultRow) -> str:
    planned = (
        f" of {run.planned_steps:,}" if run.planned_steps and run.planned_steps != run.steps else ""
    )
    words = {
        "finished": "finished after",
        "stopped": "stopped after",
        "crashed": "crashed after",
        "killed": "was killed after",
        "timeout": "hit its time limit after",
        "memory": "ran out of memory after",
    }
    return f"{words.get(run.outcome, clean(run.outcome) + ' after')} {run.steps:,}{planned} steps"
