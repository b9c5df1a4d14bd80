"""Phrases for numbers, causes and findings, shared by HTML, Markdown and plots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from yolo_stability.benchmarks.rows import Interval, RunResultRow
from yolo_stability.core.errors import ConfigError
from yolo_stability.core.text import clean, count, number
from yolo_stability.diagnosis.cause_descriptions import CAUSE_DESCRIPTIONS
from yolo_stability.diagnosis.rules import RULES
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

CAUSES: Mapping[str, str] = {c.name: c.phrase for c in CAUSE_DESCRIPTIONS.values()}
"""Causes as phrases."""


class _Signs(Mapping[str, str]):
    """Phrase of each rule, read from the rule itself on first use, and of a crash."""

    def __getitem__(self, name: str) -> str:
        if name == _CRASH:
            return "a crash"
        try:
            return clean(RULES[name].phrase())
        except ConfigError:  # the rule of another package cannot be imported
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter((*RULES, _CRASH))

    def __len__(self) -> int:
        return len(RULES.names) + 1


_CRASH = "crash"
SIGNS: Mapping[str, str] = _Signs()
"""What each rule finds, as a phrase: `sign` of the rule. A new rule needs no entry here."""
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
