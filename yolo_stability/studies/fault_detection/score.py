"""Scores all detectors on labeled runs; writes `faults.json`, `faults.md` and `faults.png`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np

from yolo_stability.benchmarks.labeled_runs import LabeledRun, label_of, labeled_runs, prefix
from yolo_stability.core.files import replace_file
from yolo_stability.core.findings import Diagnosis
from yolo_stability.core.provenance import package_versions
from yolo_stability.core.types import Trace
from yolo_stability.diagnosis.verdict import noticed
from yolo_stability.studies.fault_detection.baselines import NAIVE
from yolo_stability.studies.fault_detection.metrics import (
    ANY,
    OURS,
    ScoredRun,
    score_half,
)
from yolo_stability.studies.fault_detection.onset import Effect, effect_of, references
from yolo_stability.studies.fault_detection.result import FaultResult

__all__ = ["FAULTS_JSON", "known_at", "run_detectors", "score_labeled", "write_faults"]

FAULTS_JSON = "faults.json"
SET_ON = "yolov8"
"""The only model family on which thresholds of rules may be tuned."""

_TENTHS = 10

Diagnose = Callable[[Trace, bool], Diagnosis]


def score_labeled(folder: Path, arms: Iterable[str], control: str) -> FaultResult | None:
    """Score a benchmark folder if its arms include both faults and healthy recipes.

    Args:
        folder: Benchmark folder.
        arms: Names of its arms.
        control: Name of the control.

    Returns:
        The scores; None, and nothing is written, if faults or healthy recipes are missing.
    """
    kinds = {label.healthy for arm in arms if (label := label_of(arm)) is not None}
    return write_faults(folder, control) if kinds == {True, False} else None


def write_faults(
    folder: Path, control: str = "control", diagnose: Diagnose | None = None
) -> FaultResult:
    """Score the labeled runs of a benchmark folder and write the scores into it.

    Args:
        folder: Benchmark folder; it may contain runs of several sessions.
        control: Name of the control, which is healthy by definition.
        diagnose: Function of a trace and whether to hide the settings; by default that of this
            package.
    """
    from yolo_stability.studies.fault_detection.report import faults_markdown, faults_picture

    result = score_faults(labeled_runs(folder, control), diagnose or _diagnose)
    replace_file(
        folder / FAULTS_JSON,
        json.dumps(asdict(result), indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n",
    )
    replace_file(folder / "faults.md", faults_markdown(result).encode())
    replace_file(folder / "faults.png", faults_picture(result))
    return result


def score_faults(runs: Iterable[LabeledRun], diagnose: Diagnose) -> FaultResult:
    """Run all detectors on the runs and compute the scores.

    Args:
        runs: The runs.
        diagnose: Function of a trace and whether to hide the settings.
    """
    runs = list(runs)
    healthy = [run for run in runs if run.label.healthy]
    scored = [run_detectors(run, references(run, healthy), diagnose) for run in runs]
    families = sorted(
        {_family(j) for j in scored}, key=lambda name: (not name.startswith(SET_ON), name)
    )
    halves = {
        f"{'Set on' if name.startswith(SET_ON) else 'Unseen'}: {name}": [
            j for j in scored if _family(j) == name
        ]
        for name in families
    }
    return FaultResult(
        schema_version=1,
        written=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=package_versions(),
        halves=[score_half(title, half) for title, half in halves.items() if half],
        runs=scored,
    )


def _family(run: ScoredRun) -> str:
    """Return the model of a run without its task, such as `yolo26n`."""
    return run.model.split("-", 1)[0]


def run_detectors(run: LabeledRun, healthy: Sequence[LabeledRun], diagnose: Diagnose) -> ScoredRun:
    """Run all detectors on one run.

    Args:
        run: The run.
        healthy: Healthy runs to compare it with, for its effect.
        diagnose: Function of a trace and whether to hide the settings.
    """
    informed, masked = diagnose(run.trace, False), diagnose(run.trace, True)
    step = run.series.step
    alarms = {OURS: known_at(run.trace, diagnose), ANY: known_at(run.trace, diagnose, noticed)}
    for name, rule in NAIVE.items():
        row = rule(run)
        alarms[name] = None if row is None else int(step[row])
    effect = (
        Effect(onset=None, harmed=False, first_bad=None)
        if run.label.healthy
        else effect_of(run, healthy)
    )
    return ScoredRun(
        arm=run.arm,
        task=run.task,
        model=run.model,
        seed=run.seed,
        healthy=run.label.healthy,
        label=run.label.cause,
        gradual=run.label.onset == "gradual",
        named_step=run.label.step,
        steps=int(step.size),
        fitness=run.fitness,
        effective=effect.exists,
        harmed=effect.harmed,
        onset=effect.onset,
        first_bad=int(step[np.argmax(run.bad)]) if run.bad.any() else None,
        alarms=alarms,
        verdict=informed.verdict,
        noticed=noticed(informed),
        learning=informed.learning,
        critical=list(dict.fromkeys(f.rule for f in informed.findings if f.severity == "critical")),
        masked=[cause.name for cause in masked.causes],
        informed=[cause.name for cause in informed.causes],
        also=run.label.also,
    )


def _critical(diagnosis: Diagnosis) -> bool:
    return any(f.severity == "critical" for f in diagnosis.findings)


def known_at(
    trace: Trace, diagnose: Diagnose, alarming: Callable[[Diagnosis], bool] = _critical
) -> int | None:
    """Return the first step at which a diagnosis of the trace so far raises an alarm, or None.

    The trace grows by a tenth at a time, so that a finding that is withdrawn later counts as well:
    it would have been reported during the run and might have ended it. Within a tenth the step is
    found by bisection.

    Args:
        trace: The trace of the complete run.
        diagnose: Function of a trace and whether to hide the settings.
        alarming: Function that returns whether a diagnosis is an alarm; by default a critical
            finding.
    """

    def alarmed(rows: int) -> bool:
        return alarming(diagnose(prefix(trace, rows), False))

    size = trace.steps.height
    stride = max(1, -(-size // _TENTHS))
    ends = [*range(0, size, stride), size]
    low, high = next(((a, b) for a, b in pairwise(ends) if alarmed(b)), (0, 0))
    if not high:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if alarmed(middle) else (middle, high)
    return int(trace.steps["step"][high - 1])


def _diagnose(trace: Trace, masked: bool) -> Diagnosis:
    from yolo_stability.diagnosis.diagnose import diagnose_trace

    return diagnose_trace(trace, masked=masked)
