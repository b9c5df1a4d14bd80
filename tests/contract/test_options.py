"""Every own key is defined once, in `config.py`; all that shows or stores it follows from there."""

from __future__ import annotations

import inspect
import re
import runpy
import typing
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from yolo_stability.benchmarks.suite import option_schemas, schemas
from yolo_stability.cli import help as pages
from yolo_stability.cli.commands import VERBS
from yolo_stability.config import (
    MODEL_SWITCHES,
    OWN_KEYS,
    SWITCHES,
    StabilitySettings,
    is_default,
    make_settings,
)
from yolo_stability.gradients.record import record
from yolo_stability.interventions.activation import ACTIVATIONS
from yolo_stability.interventions.activation_names import ACTIVATION_NAMES
from yolo_stability.interventions.clips._base import STOCK_CLIP
from yolo_stability.interventions.inits._base import STOCK_INIT
from yolo_stability.interventions.norms._base import STOCK_NORM
from yolo_stability.interventions.switches import Switches
from yolo_stability.trainer.monitor import StabilityMonitor
from yolo_stability.trainer.settings.sidecar import resumed_settings, write_sidecar

OTHER: dict[str, Any] = {
    "guard": "stop",
    "guard_limit": 4,
    "fail_on": "critical",
    "rescue": "lower_rate",
    "rescue_limit": 5,
    "watch_every": 0,
    "incidents": 1,
    "fault": "label_noise:0.3",
    "clip": "value:0.5",
    "norm": "group",
    "init": "gain:3",
    "act": "relu",
    "residual": False,
    "depth_mult": 2.0,
    "lr_mult": 0.1,
    "l1": 1e-5,
}
"""A value of each key that is not its default."""

PAGE = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "generate.py"))["keys"]()
"""The page of keys that the documentation shows."""

SIGNATURE = inspect.signature(StabilityMonitor).parameters
TYPES = typing.get_type_hints(StabilityMonitor.__init__)


def test_every_key_has_another_value_here() -> None:
    assert set(OTHER) == set(OWN_KEYS)
    assert not [key for key, value in OTHER.items() if is_default(key, value)]


def test_groups_make_the_switches() -> None:
    assert SWITCHES == ("clip", "norm", "init", "act", "residual", "depth_mult", "lr_mult", "l1")
    assert set(MODEL_SWITCHES) < set(SWITCHES)


@pytest.mark.parametrize("name", OWN_KEYS)
def test_help_shows_it(name: str) -> None:
    key = OWN_KEYS[name]
    row = next(
        line
        for line in pages.verb_page(VERBS["train"]).splitlines()
        if line.split()[:1] == [f"{name}="]
    )
    assert key.help in row
    assert key.valid in row or not key.is_choice
    assert f"{name}=" in pages.front_page()


@pytest.mark.parametrize("name", OWN_KEYS)
def test_the_monitor_takes_it(name: str) -> None:
    """By name, default and type, and with None if the parser reads a word as None."""
    key = OWN_KEYS[name]
    assert SIGNATURE[name].default == key.default
    none_is_read = key.bare is not None and key.bare[0] is None
    assert TYPES[name] == (key.type | None if none_is_read else key.type)
    assert re.search(rf"^    {name}: ", inspect.cleandoc(StabilityMonitor.__doc__ or ""), re.M)


def test_the_monitor_takes_nothing_else() -> None:
    assert set(SIGNATURE) == {*OWN_KEYS, "requested"}


@pytest.mark.parametrize("name", OWN_KEYS)
def test_the_monitor_hands_it_on(name: str) -> None:
    value = OTHER[name]
    assert getattr(StabilityMonitor(**{name: value}).settings, name) == value


@pytest.mark.parametrize("name", OWN_KEYS)
def test_the_schemas_know_it(name: str) -> None:
    """With its default, its values and its line of help, wherever keys are written."""
    for schema in schemas().values():
        assert schema["$defs"][name] == option_schemas()[name]
    here, there = schemas()["scenario"]["properties"], schemas()["suite"]["properties"]
    for keys in (here["overrides"], here["tasks"]["additionalProperties"], there["overrides"]):
        assert keys["properties"][name] == {"$ref": f"#/$defs/{name}"}
        assert set(keys["properties"]) == set(OWN_KEYS)
    schema = option_schemas()[name]
    assert schema["default"] == OWN_KEYS[name].default
    assert OWN_KEYS[name].help in schema["description"]
    check = jsonschema.Draft202012Validator(schema)
    assert check.is_valid(OTHER[name])
    assert check.is_valid(OWN_KEYS[name].default)
    bare = OWN_KEYS[name].bare
    assert bare is None or check.is_valid(bare[0])
    assert not check.is_valid([])


@pytest.mark.parametrize("name", OWN_KEYS)
def test_the_page_of_keys_has_it(name: str) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{name}=` |"))
    cells = [cell.strip() for cell in row.replace("\\|", "/").strip("| ").split(" | ")]
    assert OWN_KEYS[name].valid in cells
    assert OWN_KEYS[name].help in cells
    assert (cells[-1] == "switch") == (name in SWITCHES)


@pytest.mark.parametrize("name", OWN_KEYS)
def test_a_resume_keeps_it(name: str, tmp_path: Path) -> None:
    settings = make_settings(**{name: OTHER[name]})
    write_sidecar(tmp_path, settings)
    assert resumed_settings(tmp_path, StabilitySettings()) == settings


@pytest.mark.parametrize("name", [name for name, key in OWN_KEYS.items() if key.bare is not None])
def test_a_bare_word_is_that_word(name: str) -> None:
    """YAML makes False of `off`, Ultralytics' parser None of `none`."""
    bare = OWN_KEYS[name].bare
    assert bare is not None
    assert getattr(make_settings(**{name: bare[0]}), name) == bare[1]


def test_activations_are_listed_without_torch() -> None:
    assert tuple(ACTIVATIONS) == ACTIVATION_NAMES


def test_defaults_are_what_the_parts_call_stock() -> None:
    """No switch changes anything, and the recorder of other loops samples alike."""
    stock = make_settings()
    assert (stock.clip, stock.norm, stock.init) == (STOCK_CLIP, STOCK_NORM, STOCK_INIT)
    assert not Switches(stock).edit_model
    assert inspect.signature(record).parameters["watch_every"].default == stock.watch_every


@pytest.mark.parametrize(
    "name", [name for name, key in OWN_KEYS.items() if key.default is not None]
)
def test_the_readme_names_its_default(name: str) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| `{name}=` \|(.*)$", readme, re.MULTILINE)
    default = OWN_KEYS[name].default
    shown = str(default).lower() if isinstance(default, bool) else f"{default}"
    shown = f"{default:g}" if isinstance(default, float) else shown
    assert row is None or re.search(rf"\*\*`?{shown}`?\*\*", row[1])
