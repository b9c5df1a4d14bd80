"""Which runs count as stable: traces made by hand, each ended in its own way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from traces import record, write

from yolo_stability.benchmarks.plan import RunOutcome, RunSpec
from yolo_stability.core.types import StepRecord
from yolo_stability.studies.frontier.stability import RunAssessment, assess_run

SPEC = RunSpec(
    arm="recipe/lr_mult-10",
    task="detect",
    model="yolo26n.yaml",
    seed=0,
    settings={},
    minutes=1.0,
    gigabytes=1.0,
    zero_loss_steps=16,
    digest="d",
)


def calm(steps: int) -> list[StepRecord]:
    return [record(s, (3.0, 4.0, 2.0, 12.0), loss=8.0 - 0.05 * s) for s in range(steps)]


def broken(steps: int, at: int) -> list[StepRecord]:
    """Loss and gradients are not finite from a step on."""
    nan = float("nan")
    return [
        r if r.step < at else record(r.step, (nan, nan, nan, nan), loss=nan) for r in calm(steps)
    ]


def judged(
    folder: Path, records: list[StepRecord] | None, outcome: str, **known: Any
) -> RunAssessment:
    if records is not None:
        write(folder / SPEC.folder, records)
    return assess_run(SPEC, RunOutcome(digest="d", outcome=outcome, **known), folder)


def test_a_calm_run_that_ended_is_stable(tmp_path: Path) -> None:
    found = judged(
        tmp_path, calm(40), "finished", metrics={"metrics/mAP50(B)": 0.25, "metrics/mAP50(P)": 0.5}
    )
    assert (found.verdict, found.diagnosis, found.steps, found.fitness) == (
        "stable",
        "stable",
        40,
        0.25,
    )
    assert (found.onset_step, found.onset_sign) == (None, None)


@pytest.mark.parametrize("outcome", ["finished", "stopped", "crashed", "timeout"])
def test_a_critical_finding_is_unstable_however_it_ended(tmp_path: Path, outcome: str) -> None:
    found = judged(tmp_path, broken(40, 25), outcome)
    assert (found.verdict, found.onset_step, found.onset_sign) == ("unstable", 25, "non_finite")


def test_a_run_that_a_rule_of_the_suite_ended_is_unstable(tmp_path: Path) -> None:
    found = judged(tmp_path, calm(40), "stopped", stopped="the loss was exactly 0 for 16 steps")
    assert (found.verdict, found.why) == ("unstable", "the loss was exactly 0 for 16 steps")


@pytest.mark.parametrize("outcome", ["crashed", "timeout", "memory", "killed"])
@pytest.mark.parametrize("steps", [None, 0, 40])
def test_a_run_that_died_without_a_sign_is_neither(
    tmp_path: Path, outcome: str, steps: int | None
) -> None:
    found = judged(
        tmp_path, None if steps is None else calm(steps), outcome, error="OSError: no space"
    )
    assert (found.verdict, found.why) == ("crashed", "OSError: no space")
    assert found.onset_sign is None


@pytest.mark.parametrize("steps", [None, 0, 8])
def test_too_little_is_inconclusive(tmp_path: Path, steps: int | None) -> None:
    assert (
        judged(tmp_path, None if steps is None else calm(steps), "finished").verdict
        == "inconclusive"
    )


def test_warnings_alone_leave_a_run_stable(tmp_path: Path) -> None:
    records = calm(60)
    records[30] = record(30, (300.0, 400.0, 200.0, 1200.0), loss=60.0)
    found = judged(tmp_path, records, "finished")
    assert (found.verdict, found.diagnosis) == ("stable", "stable")
    assert "a warning that decides nothing" in found.why
