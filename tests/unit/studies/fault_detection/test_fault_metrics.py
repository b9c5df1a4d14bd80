"""Scores of judged runs whose right scores are counted by hand."""

from __future__ import annotations

from typing import Any

import pytest

from yolo_stability.benchmarks.statistics import wilson
from yolo_stability.studies.fault_detection.metrics import OURS, ScoredRun, score_half

OTHER = "other"


def judged(arm: str, ours: int | None, other: int | None = None, **changes: Any) -> ScoredRun:
    values: dict[str, Any] = {
        "arm": arm,
        "task": "detect",
        "model": "yolov8n",
        "seed": 0,
        "healthy": False,
        "label": "data",
        "gradual": True,
        "named_step": None,
        "steps": 80,
        "fitness": 0.5,
        "effective": True,
        "harmed": False,
        "onset": 20,
        "first_bad": None,
        "alarms": {OTHER: other, OURS: ours},
        "verdict": "failed" if ours is not None else "stable",
        "critical": ["rule"] if ours is not None else [],
        "masked": [],
        "informed": [],
    }
    return ScoredRun(**{**values, **changes})


def healthy(ours: int | None, other: int | None = None, **changes: Any) -> ScoredRun:
    nothing = {"healthy": True, "label": None, "effective": False, "onset": None}
    return judged("good", ours, other, **{**nothing, **changes})


RUNS = [
    judged(
        "slow", 22, 30, first_bad=25, masked=["data", "depth"], informed=["data"], noticed=True
    ),  # 3 before: early
    judged(
        "slow", 23, 18, first_bad=25, masked=["depth", "data"], informed=["data"], seed=1
    ),  # 2 before: not early
    judged(
        "slow",
        None,
        None,
        first_bad=30,
        masked=["depth", "unknown"],
        informed=["depth", "data"],
        seed=2,
    ),
    judged(
        "slow",
        1,
        1,
        gradual=True,
        first_bad=2,
        onset=None,
        harmed=True,
        masked=["unknown"],
        informed=[],
        seed=4,
    ),
    judged(
        "slow", None, None, effective=False, onset=None, seed=3
    ),  # without effect: counts nowhere
    judged(
        "blow",
        20,
        12,
        gradual=False,
        named_step=20,
        label="depth",
        masked=["depth"],
        informed=["depth"],
    ),
    judged(
        "blow", 15, 21, gradual=False, named_step=20, label="depth", seed=1
    ),  # ours came before the blow
    judged("mute", 40, None, onset=None, harmed=True, verdict="inconclusive", noticed=True),
    healthy(None),
    healthy(None, 3, verdict="unstable", noticed=True),
    healthy(50, 4, verdict="failed", seed=7),
    healthy(None, None),
]


def test_every_score_is_what_one_counts_by_hand() -> None:
    half = score_half("half", RUNS)
    assert (half.faulty, half.healthy, half.without_effect) == (8, 4, 1)
    assert (half.shown.hits, half.shown.runs) == (3, 5)
    assert (half.silent.hits, half.silent.runs) == (2, 2)
    ours, other = half.detectors
    assert (ours.name, other.name) == (OURS, OTHER)
    assert (ours.recall.hits, ours.recall.runs) == (5, 7)
    assert (ours.false_alarms.hits, ours.false_alarms.runs) == (1, 4)
    assert (ours.precision.hits, ours.precision.runs) == (
        5,
        7,
    )  # alarms: 6 on faults, one of them too soon, 1 healthy
    assert ours.balanced == pytest.approx((5 / 7 + 3 / 4) / 2)
    assert (ours.latency_median, ours.latency_90) == (2.0, pytest.approx(2.8))  # of 2, 3 and 0
    assert (ours.early.hits, ours.early.runs) == (1, 3)
    assert (other.recall.hits, other.false_alarms.hits) == (4, 2)
    assert other.latency_median == 1.0  # of 10, -2 and 1
    assert (other.early.hits, other.early.runs) == (1, 3)  # at 18, 7 steps before
    assert (half.masked.first.hits, half.masked.second.hits, half.masked.first.runs) == (2, 3, 7)
    assert (half.informed.first.hits, half.informed.second.hits) == (3, 4)
    assert (half.failed_verdicts.hits, half.failed_verdicts.runs) == (5, 7)
    assert (half.false_verdicts.hits, half.false_verdicts.runs) == (2, 4)
    assert (half.noticed.hits, half.noticed.runs) == (2, 7)
    assert (half.false_notices.hits, half.inconclusive.hits, half.inconclusive.runs) == (1, 1, 12)
    assert half.false_criticals == ["good, detect, yolov8n, seed 7: rule at step 50"]
    assert ours.recall.share == wilson(5, 7)


def test_kinds_say_what_was_told_instead() -> None:
    kinds = {kind.arm: kind for kind in score_half("half", RUNS).kinds}
    slow = kinds["slow"]
    assert (slow.runs, slow.effective, slow.seen, slow.masked, slow.informed) == (5, 4, 3, 1, 2)
    assert slow.told == "depth 2, data 1, unknown 1"
    assert (slow.onset_median, slow.alarm_median) == (20.0, 22.0)
    assert (kinds["blow"].gradual, kinds["blow"].seen, kinds["blow"].told) == (
        False,
        1,
        "depth 1, none 1",
    )


def test_without_runs_there_are_no_shares() -> None:
    half = score_half("half", [healthy(None)])
    assert half.detectors[0].recall.share.value is None
    assert half.detectors[0].balanced is None
    assert (half.detectors[0].latency_median, half.kinds) == (None, [])
