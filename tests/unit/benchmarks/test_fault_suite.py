"""The fault suite covers all intended causes, and every label is complete."""

from __future__ import annotations

from collections import Counter

import pytest
from pydantic import ValidationError

from yolo_stability.benchmarks.scenario import FaultLabel, load_scenario, scenario_names
from yolo_stability.benchmarks.suite import load_suite

SUITE = load_suite("faults")
LABELS = {arm: load_scenario(arm).label for arm in SUITE.arms if arm != SUITE.control}


def test_every_arm_has_a_label() -> None:
    assert [arm for arm, label in LABELS.items() if label is None] == []


def test_there_are_enough_faults_and_healthy_runs() -> None:
    faults = [label for label in LABELS.values() if label and not label.healthy]
    healthy = len(LABELS) - len(faults) + 1
    assert len(faults) >= 12
    assert healthy * 2 * SUITE.seeds * 2 >= 100  # tasks and models
    assert min(Counter(label.onset for label in faults).values()) >= 5
    assert {label.cause for label in faults} == {
        *(
            "learning_rate",
            "batch_noise",
            "normalization",
            "initialization",
            "activation",
            "depth",
            "data",
        ),
        "numeric_range",
    }


def test_faults_that_name_their_step_strike_there() -> None:
    for arm in LABELS:
        scenario = load_scenario(arm)
        name, at, step = str(scenario.overrides.get("fault", "")).partition("@")
        assert scenario.label is not None
        if at:
            assert scenario.label.step == int(step), name


@pytest.mark.parametrize("name", scenario_names())
def test_names_say_which_scenarios_are_for_the_fault_benchmark(name: str) -> None:
    label = load_scenario(name).label
    if name.startswith("healthy-"):
        assert label is not None
        assert label.healthy
    if name.startswith("fault-"):
        assert label is not None
        assert not label.healthy


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"cause": "data"},
        {"onset": "gradual"},
        {"healthy": True, "cause": "data"},
        {"healthy": True, "step": 3},
        {"cause": "bad luck", "onset": "gradual"},
        {"cause": "data", "onset": "sudden", "step": -1},
    ],
)
def test_half_a_label_is_refused(content: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FaultLabel.model_validate(content)
