"""Labelled runs made by hand: what happens at which step is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from traces import record, write

from yolo_stability.benchmarks.labeled_runs import LabeledRun
from yolo_stability.benchmarks.scenario import FaultLabel
from yolo_stability.core.findings import Diagnosis, Finding
from yolo_stability.core.types import StepRecord, Trace
from yolo_stability.trace import load_trace
from yolo_stability.trace.arrays import as_series

Norms = tuple[float | None, ...]

HEALTHY = FaultLabel(healthy=True)
SUDDEN = FaultLabel(cause="data", onset="sudden", step=10)
GRADUAL = FaultLabel(cause="learning_rate", onset="gradual")


def steps(
    losses: Sequence[float], norms: Sequence[Norms] | None = None, **changes: Any
) -> list[StepRecord]:
    """One record a loss; block norms of 3, 4, 0 and 12 unless given."""
    norms = norms or [(3.0, 4.0, 0.0, 12.0)] * len(losses)
    return [
        record(i, n, loss=loss, **changes)
        for i, (loss, n) in enumerate(zip(losses, norms, strict=True))
    ]


def run(
    folder: Path, records: Sequence[StepRecord], label: FaultLabel = HEALTHY, **changes: Any
) -> LabeledRun:
    """A labelled run with these records."""
    trace = load_trace(
        write(folder, records, effective={"optimizer": changes.pop("optimizer", "AdamW")})
    )
    values: dict[str, Any] = {
        "arm": "arm",
        "task": "detect",
        "model": "yolov8n",
        "seed": 0,
        "label": label,
        "outcome": "finished",
        "fitness": 0.8,
        "batch": 8,
    }
    return LabeledRun(**{**values, **changes}, trace=trace, series=as_series(trace))


def alarm_above(limit: float) -> Callable[[Trace, bool], Diagnosis]:
    """A diagnosis that is causal and simple: critical from the first loss above a limit on."""

    def diagnose(trace: Trace, masked: bool) -> Diagnosis:
        high = [s for s, loss in trace.steps.select("step", "loss").iter_rows() if loss > limit]
        finding = [
            Finding(rule="high", severity="critical", message="", first_step=s, last_step=s)
            for s in high[:1]
        ]
        return Diagnosis(
            run_id="", verdict="failed" if high else "stable", why="", findings=tuple(finding)
        )

    return diagnose
