"""Options of yolo_stability: disjoint from Ultralytics keys, validated, with helpful errors."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from ultralytics.cfg import DEFAULT_CFG_DICT

from yolo_stability.config import (
    OWN_FLAGS,
    OWN_KEYS,
    StabilitySettings,
    make_settings,
)
from yolo_stability.core.errors import ConfigError


def test_no_own_key_is_a_key_of_ultralytics() -> None:
    assert not {*OWN_KEYS, *OWN_FLAGS} & set(DEFAULT_CFG_DICT)


def test_the_table_and_the_model_are_one() -> None:
    assert list(OWN_KEYS) == list(StabilitySettings.model_fields)
    for key in OWN_KEYS.values():
        assert key.default == getattr(make_settings(), key.name)
        assert key.help
        assert key.valid


def test_defaults() -> None:
    """Without a key of ours a run differs from stock in nothing but being watched and guarded."""
    assert make_settings().model_dump() == {
        "guard": "skip",
        "guard_limit": 10,
        "watch_every": 10,
        "fail_on": "never",
        "rescue": "off",
        "rescue_limit": 3,
        "incidents": 3,
        "fault": None,
        "clip": "norm:10",
        "norm": "batch",
        "init": "default",
        "act": None,
        "residual": True,
        "depth_mult": 1.0,
        "lr_mult": 1.0,
        "l1": 0.0,
    }


@pytest.mark.parametrize("key", ["clip", "norm"])
def test_a_bare_none_means_none(key: str) -> None:
    """Ultralytics' parser hands `clip=none` on as None."""
    assert getattr(make_settings(**{key: None}), key) == "none"


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        make_settings().guard = "off"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("own", "text"),
    [
        ({"guard": "maybe"}, "Invalid value guard=maybe: expected off, skip or stop."),
        ({"guard": None}, "Invalid value guard=None: expected off, skip or stop."),
        (
            {"guard_limit": 0},
            "Invalid value guard_limit=0: expected a whole number, 1 or more.",
        ),
        (
            {"guard_limit": 2.5},
            "Invalid value guard_limit=2.5: expected a whole number, 1 or more.",
        ),
        (
            {"watch_every": -1},
            "Invalid value watch_every=-1: expected a whole number, 0 or more.",
        ),
        (
            {"watch_every": True},
            "Invalid value watch_every=True: expected a whole number, 0 or more.",
        ),
        (
            {"watch_every": float("nan")},
            "Invalid value watch_every=nan: expected a whole number, 0 or more.",
        ),
        ({"fault": 3}, f"Invalid value fault=3: expected {OWN_KEYS['fault'].valid}."),
        ({"gaurd": "skip"}, "Unknown key 'gaurd'. Did you mean 'guard'?"),
        (
            {"guard": 1, "watch_every": "x"},
            "Invalid value guard=1: expected off, skip or stop. "
            "Invalid value watch_every=x: expected a whole number, 0 or more.",
        ),
    ],
)
def test_a_wrong_value_is_explained(own: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as error:
        make_settings(**own)
    assert str(error.value) == text


def test_yaml_reads_a_bare_off_as_false() -> None:
    assert make_settings(guard=False).guard == "off"


@pytest.mark.parametrize(
    ("own", "text"),
    [
        ({"rescue": "autp"}, "Invalid value rescue=autp: expected off, auto"),
        ({"rescue": "lower_rat"}, "Did you mean 'lower_rate' or 'lower_scale'?"),
        ({"rescue_limit": 0}, "Invalid value rescue_limit=0"),
        (
            {"rescue": "auto", "guard": "stop"},
            "rolls back to a state that the guard saves, but guard=stop",
        ),
        (
            {"rescue": "auto", "guard": False},
            "rolls back to a state that the guard saves, but guard=off",
        ),
        ({"rescue": "auto", "fail_on": "critical"}, "remove one of the two"),
        (
            {"rescue": "restart"},
            "restarts with init=default, which this run already uses",
        ),
        ({"rescue": "quarantine", "incidents": 0}, "use incidents=3 or more"),
    ],
)
def test_an_impossible_rescue_is_reported(own: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        make_settings(**own)
    assert text in str(refused.value)


def test_a_bare_off_means_off() -> None:
    """YAML reads it as False."""
    assert make_settings(rescue=False).rescue == "off"
