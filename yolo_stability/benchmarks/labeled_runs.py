"""The labelled runs of a benchmark folder, read off the disk: whatever was run there, in however many sittings."""

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
    """A run whose truth is known.

    Attributes:
        arm: Name of its scenario.
        task: detect or pose.
        model: Model, without the ending of its file.
        seed: Its seed.
        label: What is wrong with it.
        outcome: How it ended.
        fitness: The task's own mAP50 at the end; 0 for a run that died, None where unknown.
        batch: Images of a batch: the loss, and so every gradient, is their sum.
        trace: Its telemetry.
        series: The same as arrays.
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
        """What a person calls it."""
        return f"{self.arm}, {self.task}, {self.model}, seed {self.seed}"

    @property
    def optimizer(self) -> str:
        """Optimizer that was in force; empty where unknown."""
        return str(self.trace.header.effective.get("optimizer", ""))

    @property
    def bad(self) -> Bools:
        """(S,) whether a step had a NaN or Inf in loss, norm or gradient, or was left out by the guard for a buffer."""
        values = ~np.isfinite(self.series.loss) | ~np.isfinite(self.series.norm)
        found: Bools = values | (self.series.nonfinite > 0) | self.series.guard
        return found


def labeled_runs(
    folder: Path, control: str, label: Callable[[str], FaultLabel | None] | None = None
) -> Iterator[LabeledRun]:
    """Yield the runs of a benchmark folder that have ended, have a trace with steps, and whose scenario has a label.

    The labels are those of the scenarios as they are now; the control is healthy by definition.

    Args:
        folder: The benchmark's folder.
        control: Name of the control.
        label: What is wrong with an arm; None for what its scenario says.
    """
    labels: dict[str, FaultLabel | None] = {control: HEALTHY}
    for file in sorted(folder.glob(f"runs/*/*/*/*/{OUTCOME}")):
        run = _read(file.parent, labels, label or label_of)
        if run is not None:
            yield run


def _read(
    folder: Path, labels: dict[str, FaultLabel | None], of: Callable[[str], FaultLabel | None]
) -> LabeledRun | None:
    """Read one run; None where nothing can be learned from it."""
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
        return None  # half written, or lost before it began: no trace, nothing to score
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
    """Return what the scenario of an arm says is wrong with it; None where it says nothing, or is gone."""
    try:
        return load_scenario(arm).label
    except ConfigError:
        return None


def prefix(trace: Trace, rows: int) -> Trace:
    """Return what was known of a run after its first optimizer steps.

    Args:
        trace: The whole run.
        rows: How many steps, at least one; all of them returns the run as it is, with the events of its end.
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
