"""Suites and their arms: what ships is whole, and mistakes are told all at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from yolo_stability.benchmarks.plan import RunOutcome, run_digest
from yolo_stability.benchmarks.runner import make_plan
from yolo_stability.benchmarks.scenario import load_scenario, scenario_names
from yolo_stability.benchmarks.suite import Suite, load_suite, schemas, suite_names
from yolo_stability.compat.ultralytics import DEFAULT_CFG_DICT
from yolo_stability.config import OWN_KEYS, make_settings
from yolo_stability.core.errors import ConfigError
from yolo_stability.core.resources import resource
from yolo_stability.core.strict_yaml import load_yaml
from yolo_stability.interventions.switches import Switches

GOOD = {"name": "mine", "control": "control", "arms": ["control", "no-norm"], "seeds": 2}


def suite(**changed: Any) -> Suite:
    """Return a suite that is fine but for what is changed."""
    return Suite.model_validate({**GOOD, **changed})


@pytest.mark.parametrize("name", suite_names())
def test_what_ships_is_whole(name: str) -> None:
    found = load_suite(name)
    assert found.name == name
    assert found.description.endswith(".")
    assert len(make_plan(found)) == len(found.arms) * len(found.tasks) * found.seeds
    for arm in found.arms:
        for task in found.tasks:
            settings = found.settings(arm, task, 0)
            assert set(settings) <= {*DEFAULT_CFG_DICT, *OWN_KEYS}
            Switches(make_settings(**{k: v for k, v in settings.items() if k in OWN_KEYS}))


@pytest.mark.parametrize("name", scenario_names())
def test_every_arm_says_what_it_tests(name: str) -> None:
    arm = load_scenario(name)
    if arm.kind == "control":
        assert name == "control" or (arm.label is not None and arm.label.healthy)
        return
    assert arm.kind in {"cause", "remedy", "both"}
    assert arm.claim.endswith(".")
    assert arm.expects.endswith(".")
    assert arm.overrides or arm.tasks


def test_the_issue_asks_for_these_sizes() -> None:
    quick, full = load_suite("quick"), load_suite("full")
    assert (len(quick.arms), quick.seeds) == (7, 2)
    assert len(full.arms) >= 10
    assert full.seeds == 3


def test_an_arm_is_over_the_suite_and_that_over_the_recipe() -> None:
    found = suite(
        arms=["control", "tiny-batch"], overrides={"batch": 4, "epochs": 2, "guard": "off"}
    )
    control, arm = found.settings("control", "detect", 1), found.settings("tiny-batch", "detect", 1)
    assert (control["batch"], arm["batch"]) == (4, 1)
    assert control["epochs"] == arm["epochs"] == 2
    assert control["optimizer"] == "AdamW"
    assert (control["guard"], control["seed"]) == ("off", 1)
    assert load_suite("quick").settings("control", "pose", 0)["guard"] == "stop"


@pytest.mark.parametrize(
    ("text", "complaints"),
    [
        (
            "name: x\ncontrol: control\narms: [control, no-nrom]\n",
            ["'no-nrom'. Did you mean 'no-norm'"],
        ),
        (
            "name: x\ncontrol: control\narms: [no-norm]\n",
            ["control: 'control' is not among the arms no-norm"],
        ),
        ("name: x\ncontrol: control\narms: [control, control]\n", ["'control' is there twice"]),
        ("name: x\narms: [control]\n", ["control: Field required"]),
        (
            "name: x\ncontrol: control\narms: [control]\nseeds: 0\ntasks: [segment]\nlimits: {minutes: long}\nsed: 1\n",
            [
                "seeds:",
                "tasks.0:",
                "limits.minutes:",
                "sed: there is no such key Did you mean 'seeds'",
            ],
        ),
        ("schema_version: 2\nname: x\ncontrol: control\narms: [control]\n", ["schema_version"]),
        ("name: x\nname: y\n", ["my.yaml, line 2: duplicate key 'name'; keep one."]),
        (
            "name: x\narms: &a [control]\nmodels: {detect: *a}\n",
            ["my.yaml, line 3: aliases (*name) are not allowed"],
        ),
        ("- control\n", ["my.yaml must be a mapping of keys to values, not list."]),
    ],
)
def test_all_mistakes_are_told_at_once_with_their_paths(
    text: str, complaints: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_suite(str(file))
    assert all(part in str(error.value) for part in complaints), str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_suite_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No suite 'quik'. Did you mean 'quick'"):
        load_suite("quik")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_suite(str(tmp_path / "nowhere.yaml"))


def test_a_seed_is_whole_before_the_next_begins() -> None:
    plan = make_plan(suite(tasks=["detect"]))
    assert [(s.seed, s.arm) for s in plan] == [
        (0, "control"),
        (0, "no-norm"),
        (1, "control"),
        (1, "no-norm"),
    ]
    assert len({s.digest for s in plan}) == len({s.folder for s in plan}) == 4


def test_a_digest_knows_settings_limits_and_versions() -> None:
    base: tuple[dict[str, Any], dict[str, Any], dict[str, str]] = (
        {"lr0": 0.1, "seed": 0},
        {"z": 1},
        {"torch": "2"},
    )
    digest = run_digest(*base)
    assert digest == run_digest({"seed": 0, "lr0": 0.1}, {"z": 1}, {"torch": "2"})
    others = [
        ({"lr0": 0.2, "seed": 0}, base[1], base[2]),
        (base[0], {"z": 2}, base[2]),
        (base[0], base[1], {"torch": "3"}),
    ]
    assert len({digest, *(run_digest(*other) for other in others)}) == 4


SHIPPED = [("suite", name) for name in suite_names()] + [
    ("scenario", name) for name in scenario_names()
]


@pytest.mark.parametrize(("kind", "name"), SHIPPED)
def test_what_ships_fits_the_schema_that_its_first_line_names(kind: str, name: str) -> None:
    file = resource("configs", f"{kind}s", f"{name}.yaml")
    text = file.read_text(encoding="utf-8")
    named = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    schema = json.loads((file.parent / named).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(load_yaml(text, name))


@pytest.mark.parametrize("kind", ["suite", "scenario"])
def test_the_schemas_that_ship_are_up_to_date(kind: str) -> None:
    """If not: yolo-stability list schema out=configs/schema."""
    shipped = json.loads(resource("configs", "schema", f"{kind}.json").read_text(encoding="utf-8"))
    assert shipped == schemas()[kind]


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("suite", {"name": "x", "control": "control", "arms": ["control"], "sed": 1}),
        ("suite", {"name": "x", "control": "control", "arms": ["no-nrom"]}),
        ("suite", {"name": "x", "control": "control", "arms": []}),
        ("suite", {"name": "x", "control": "control", "arms": ["control"], "seeds": 0}),
        (
            "suite",
            {"name": "x", "control": "control", "arms": ["control"], "limits": {"minutes": "long"}},
        ),
        ("suite", {"control": "control", "arms": ["control"]}),
        ("scenario", {"name": "x", "description": "y", "kind": "casue"}),
    ],
)
def test_an_editor_sees_mistakes_as_well(kind: str, content: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(schemas()[kind])
    assert not validator.is_valid(content)


def test_an_editor_shows_what_every_key_means() -> None:
    suite, scenario = schemas()["suite"], schemas()["scenario"]
    assert set(suite["properties"]) == set(Suite.model_fields)
    assert suite["properties"]["seeds"]["description"] == "How many seeds, counted from 0."
    for properties in (
        suite["properties"],
        suite["$defs"]["Limits"]["properties"],
        scenario["properties"],
    ):
        assert all(content.get("description", "").endswith(".") for content in properties.values())


def test_an_outcome_is_read_back_or_not_at_all(tmp_path: Path) -> None:
    outcome = RunOutcome(
        digest="abc", outcome="stopped", stopped="why", metrics={"a": None}, seconds={"total": 1.0}
    )
    outcome.write(tmp_path)
    assert RunOutcome.read(tmp_path) == outcome
    assert outcome.is_final
    assert not RunOutcome(digest="abc", outcome="killed").is_final
    (tmp_path / "run.json").write_text('{"digest": "abc"')
    assert RunOutcome.read(tmp_path) is None
