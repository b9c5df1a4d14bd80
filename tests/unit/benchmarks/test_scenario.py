"""Recipes are read from files."""

from __future__ import annotations

import pytest

from yolo_stability.benchmarks.scenario import load_scenario, scenario_names
from yolo_stability.compat.ultralytics import DEFAULT_CFG_DICT
from yolo_stability.config import OWN_KEYS
from yolo_stability.core.errors import ConfigError


@pytest.mark.parametrize("name", scenario_names())
def test_every_scenario_names_itself_and_keys_of_ultralytics(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.name == name
    assert scenario.description.endswith(".")
    for task in scenario.tasks:
        assert set(scenario.arguments(task)) <= {*DEFAULT_CFG_DICT, *OWN_KEYS}


def test_task_keys_come_over_the_common_ones() -> None:
    control = load_scenario("control")
    assert control.arguments("pose")["fliplr"] == 0
    assert "fliplr" not in control.arguments("detect")


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'control'"):
        load_scenario("controll")
    with pytest.raises(ConfigError, match="has no task 'segment'"):
        load_scenario("control").arguments("segment")
