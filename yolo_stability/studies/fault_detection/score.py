"""A benchmark folder to `faults.json`, `faults.md` and `faults.png`: every labelled run, under every detector."""

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
"""Thresholds of rules may be set on runs of this family, and on no other."""

_TENTHS = 10

Diagnose = Callable[[Trace, bool], Diagnosis]


def score_labeled(folder: Path, arms: Iterable[str], control: str) -> FaultResult | None:
    """Score a benchmark folder if its arms were made for that; the labels of single arms elsewhere are no benchmark.

    Args:
        folder: The benchmark's folder.
        arms: Names of its arms.
        control: Name of the control.

    Returns:
        None, and nothing is written, unless faults as well as healthy recipes are among the arms.
    """
    kinds = {label.healthy for arm in arms if (label := label_of(arm)) is not None}
    return write_faults(folder, control) if kinds == {True, False} else None


def write_faults(
    folder: Path, control: str = "control", diagnose: Diagnose | None = None
) -> FaultResult:
    """Score the labelled runs of a benchmark folder and write what came out into it.

    Args:
        folder: The benchmark's folder; runs of several sittings may lie in it.
        control: Name of the control, which is healthy by definition.
        diagnose: Trace and whether the settings are hidden to diagnosis; the package's own by default.
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
    """Judge and score runs.

    Args:
        runs: The runs.
        diagnose: Trace and whether the settings are hidden to diagnosis.
    """
    runs = list(runs)
    healthy = [run for run in runs if run.label.healthy]
    judged = [run_detectors(run, references(run, healthy), diagnose) for run in runs]
    families = sorted(
        {_family(j) for j in judged}, key=lambda name: (not name.startswith(SET_ON), name)
    )
    halves = {
        f"{'Set on' if name.startswith(SET_ON) else 'Unseen'}: {name}": [
            j for j in judged if _family(j) == name
        ]
        for name in families
    }
    return FaultResult(
        schema_version=1,
        written=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=package_versions(),
        halves=[score_half(title, half) for title, half in halves.items() if half],
        runs=judged,
    )


def _family(run: ScoredRun) -> str:
    """Return the model of a run without its task, such as `yolo26n`."""
    return run.model.split("-", 1)[0]


def run_detectors(run: LabeledRun, healthy: Sequence[LabeledRun], diagnose: Diagnose) -> ScoredRun:
    """Return what every detector made of a run.

    Args:
        run: The run.
        healthy: Healthy runs to compare it with, for its effect.
        diagnose: Trace and whether the settings are hidden to diagnosis.
    """
    informed, masked = diagnose(run.trace, False), diagnose(run.trace, True)
    step = run.series.step
    alarms = {OURS: known_at(run.trace, diagnose), ANY: known_at(run.trace, diagnose, _unsettled)}
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
        critical=list(dict.fromkeys(f.rule for f in informed.findings if f.severity == "critical")),
        masked=[cause.name for cause in masked.causes],
        informed=[cause.name for cause in informed.causes],
        also=run.label.also,
    )


def _critical(diagnosis: Diagnosis) -> bool:
    return any(f.severity == "critical" for f in diagnosis.findings)


def _unsettled(diagnosis: Diagnosis) -> bool:
    return diagnosis.verdict in {"unstable", "failed"}


def known_at(
    trace: Trace, diagnose: Diagnose, alarming: Callable[[Diagnosis], bool] = _critical
) -> int | None:
    """Return the first step after which a diagnosis of what was there so far is alarming; None if never.

    A tenth of the run is added at a time, so that a finding which is withdrawn later counts, too: during the run it
    would have been told, and might have ended it. Within a tenth the step is found by bisection.

    Args:
        trace: The whole run.
        diagnose: Trace and whether the settings are hidden to diagnosis.
        alarming: What counts; by default a critical finding.
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
