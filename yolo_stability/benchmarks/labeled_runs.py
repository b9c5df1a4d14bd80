"""Reads the labeled runs of a benchmark folder, over any number of sessions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from yolo_stability.benchmarks.fitness import fitness_of
from yolo_stability.benchmarks.plan import OUTCOME, RunOutcome
from yolo_stability.benchmarks.rows import unassessed_row
from yolo_stability.benchmarks.scenario import FaultLabel, load_scenario
from yolo_stability.core.errors import ConfigError, TraceError
from yolo_stability.core.types import Trace
from yolo_stability.trace import load_trace
from yolo_stability.trace.arrays import Bools, RunSeries, as_series

__all__ = ["HEALTHY", "LabeledRun", "label_of", "labeled_runs", "prefix"]

HEALTHY = FaultLabel(healthy=True)
_ENDED = ("finished", "stopped", "crashed")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabeledRun:
    """A run with a known ground truth.

    Attributes:
        arm: Name of the scenario.
        task: detect or pose.
        model: Name of the model without its file extension.
        seed: Random seed.
        label: Ground truth of the run.
        outcome: Outcome of the run.
        fitness: Final mAP50 of the task; 0 for a run that died, None if unknown.
        batch: Number of images per batch; the loss, and so every gradient, is a sum over them.
        trace: Telemetry of the run.
        series: Telemetry as arrays.
    """

    arm: str
    task: str
    model: str
    seed: int
    label: FaultLabel
    outcome: str
    fitness: float | None
    batch: int
    trace: Trace
    series: RunSeries

    @property
    def title(self) -> str:
        """Display name of the run."""
        return f"{self.arm}, {self.task}, {self.model}, seed {self.seed}"

    @property
    def optimizer(self) -> str:
        """Name of the effective optimizer; empty if unknown."""
        return str(self.trace.header.effective.get("optimizer", ""))

    @property
    def bad(self) -> Bools:
        """Steps with NaN or Inf in loss, norm or gradient, or skipped by the guard; shape (S,)."""
        values = ~np.isfinite(self.series.loss) | ~np.isfinite(self.series.norm)
        found: Bools = values | (self.series.nonfinite > 0) | self.series.guard
        return found


def labeled_runs(
    folder: Path, control: str, label: Callable[[str], FaultLabel | None] | None = None
) -> Iterator[LabeledRun]:
    """Yield the ended runs of a benchmark folder that have a label and a trace with steps.

    Labels come from the current scenario files; the control is healthy by definition.

    Args:
        folder: Folder of the benchmark.
        control: Name of the control.
        label: Returns the label of an arm; None for the label of its scenario.
    """
    labels: dict[str, FaultLabel | None] = {control: HEALTHY}
    for file in sorted(folder.glob(f"runs/*/*/*/*/{OUTCOME}")):
        run = _read(file.parent, labels, label or label_of)
        if run is not None:
            yield run


def _read(
    folder: Path, labels: dict[str, FaultLabel | None], of: Callable[[str], FaultLabel | None]
) -> LabeledRun | None:
    """Return one run; None if it has not ended or has no label or usable trace."""
    outcome = RunOutcome.read(folder)
    try:
        spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
        arm, task, model = str(spec["arm"]), str(spec["task"]), Path(str(spec["model"])).stem
        seed, batch = int(spec["seed"]), int(spec["settings"].get("batch", 16))
        label = labels[arm] = labels[arm] if arm in labels else of(arm)
        if outcome is None or outcome.outcome not in _ENDED or label is None:
            return None
        trace = load_trace(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, TraceError):
        return None  # incomplete files, or killed before the first step: nothing to score
    if trace.steps.is_empty():
        return None
    row = unassessed_row(arm, task, model, seed, outcome)
    return LabeledRun(
        arm=arm,
        task=task,
        model=model,
        seed=seed,
        label=label,
        outcome=outcome.outcome,
        fitness=fitness_of(row),
        batch=max(1, batch),
        trace=trace,
        series=as_series(trace),
    )


def label_of(arm: str) -> FaultLabel | None:
    """Return the label of an arm's scenario; None if it has no label or no longer exists."""
    try:
        return load_scenario(arm).label
    except ConfigError:
        return None


def prefix(trace: Trace, rows: int) -> Trace:
    """Return a trace cut off after its first optimizer steps.

    Args:
        trace: Trace of the whole run.
        rows: Number of steps to keep, at least 1. If it covers all steps, the trace is returned
            unchanged, including its final events.
    """
    import polars as pl

    if rows >= trace.steps.height:
        return trace
    steps = trace.steps[:rows]
    last = int(steps["step"].max())  # type: ignore[arg-type]
    return Trace(
        path=trace.path,
        header=trace.header,
        steps=steps,
        blocks=trace.blocks.filter(pl.col("step") <= last),
        events=trace.events.filter((pl.col("step") <= last) & (pl.col("kind") != "end")),
    )
