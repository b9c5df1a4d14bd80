"""Arms that combine a cause with a remedy, and the suites made of them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from yolo_stability.benchmarks.arms import arm_scenario, crossed_names, is_arm, overridden_keys
from yolo_stability.benchmarks.runner import make_plan
from yolo_stability.benchmarks.scenario import Scenario, load_scenario, scenario_names
from yolo_stability.benchmarks.suite import Suite, load_suite

GOOD = {
    "name": "mine",
    "control": "control",
    "causes": ["no-norm", "sgd-lr-100"],
    "remedies": ["remedy-agc", "remedy-adamw", "group-norm"],
}


def suite(**changed: Any) -> Suite:
    return Suite.model_validate({**GOOD, **changed})


def test_the_remedy_is_over_the_cause() -> None:
    settings = suite().settings("sgd-lr-100+remedy-agc", "pose", 3)
    assert (settings["optimizer"], settings["lr_mult"], settings["clip"], settings["seed"]) == (
        "SGD",
        100.0,
        "agc:0.01",
        3,
    )
    assert settings["fliplr"] == 0  # of the recipe, for pose
    scenario = arm_scenario("sgd-lr-100+remedy-agc")
    assert (scenario.kind, scenario.label) == ("both", None)
    assert scenario.claim == load_scenario("remedy-agc").claim


def test_a_remedy_for_all_tasks_is_over_a_cause_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {
        "a": Scenario(
            name="a", description="", overrides={"x": 1, "y": 1}, tasks={"pose": {"y": 2, "z": 2}}
        ),
        "b": Scenario(name="b", description="", overrides={"y": 3}, tasks={"pose": {"w": 4}}),
    }
    monkeypatch.setattr("yolo_stability.benchmarks.arms.load_scenario", parts.__getitem__)
    crossed = arm_scenario.__wrapped__("a+b")
    assert crossed.arguments("pose", partial=True) == {"x": 1, "y": 3, "z": 2, "w": 4}
    assert crossed.arguments("detect", partial=True) == {"x": 1, "y": 3}
    assert overridden_keys(parts["a"], parts["b"], "pose") == ["y"]


def test_every_pair_has_an_arm_unless_it_would_repeat_one() -> None:
    found = suite()
    assert found.arms == [
        *("control", "no-norm", "sgd-lr-100", "remedy-agc", "group-norm"),
        *(
            "no-norm+remedy-agc",
            "sgd-lr-100+remedy-agc",
            "sgd-lr-100+remedy-adamw",
            "sgd-lr-100+group-norm",
        ),
    ]
    equivalent = {arm: other for arm, other in found.equivalent_arms().items() if arm != other}
    assert equivalent == {
        "remedy-adamw": "control",
        "no-norm+remedy-adamw": "no-norm",
        "no-norm+group-norm": "group-norm",
    }


@pytest.mark.parametrize("name", ["remedies", "remedies-all"])
def test_a_stand_in_is_told_the_same_in_all_tasks(name: str) -> None:
    shipped = load_suite(name)
    for arm, other in shipped.equivalent_arms().items():
        for task in shipped.tasks:
            own, its = (shipped.settings(one, task, 1) for one in (arm, other))
            differing = {key for key in {*own, *its} if own.get(key) != its.get(key)}
            assert differing <= {"residual"}  # true is what holds anyway


def test_folders_and_digests_of_crossed_arms_differ() -> None:
    plan = make_plan(suite(seeds=2))
    assert (
        len({spec.folder for spec in plan})
        == len({spec.digest for spec in plan})
        == len(plan)
        == 9 * 2 * 2
    )
    assert "runs/no-norm+remedy-agc/detect/yolo26n/1" in {spec.folder.as_posix() for spec in plan}
    assert [spec.seed for spec in plan] == sorted(spec.seed for spec in plan)


def test_a_suite_may_take_some_of_the_arms() -> None:
    some = suite().changed({"arms": ["control", "no-norm", "no-norm+group-norm"]})
    assert len(make_plan(some)) == 3 * 2
    assert some.changed({"seeds": 2}).arms == some.arms
    assert some.causes == GOOD["causes"]


def test_what_repeats_what_is_found_anew_when_the_recipe_changes() -> None:
    changed = suite().changed({"overrides": {"optimizer": "MuSGD"}})
    assert "no-norm+remedy-adamw" in changed.arms
    assert suite().changed({"seeds": 2}).arms == suite().arms


def test_the_shipped_matrix_is_as_large_as_asked_for() -> None:
    shipped = load_suite("remedies")
    assert len(shipped.causes) >= 5
    assert len(shipped.remedies) >= 8
    assert shipped.seeds == 5
    assert shipped.tasks == ["detect", "pose"]
    assert all((label := load_scenario(name).label) and label.cause for name in shipped.causes)
    for name in shipped.remedies:  # each is measured against something
        assert any(
            shipped.equivalent_arms()[f"{cause}+{name}"] != cause for cause in shipped.causes
        )


@pytest.mark.parametrize("name", [n for n in scenario_names() if n.startswith("remedy-")])
def test_names_say_which_scenarios_are_remedies(name: str) -> None:
    assert load_scenario(name).kind == "remedy"
    assert name in load_suite("remedies-all").remedies


def test_the_larger_matrix_goes_on_where_the_smaller_one_ended() -> None:
    small, large = (make_plan(load_suite(name)) for name in ("remedies", "remedies-all"))
    assert {(spec.folder, spec.digest) for spec in small} < {
        (spec.folder, spec.digest) for spec in large
    }


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"remedies": []}, "causes and remedies: a matrix needs both"),
        ({"causes": ["no-nrom"]}, "causes: unknown scenario 'no-nrom'. Did you mean 'no-norm'"),
        ({"causes": ["group-norm"]}, "causes: 'group-norm' is not a cause"),
        ({"remedies": ["no-norm"]}, "remedies: 'no-norm' is not a remedy"),
        ({"remedies": ["group-norm", "group-norm"]}, "remedies: 'group-norm' is listed twice"),
        ({"causes": ["no-norm+group-norm"]}, "causes: unknown scenario 'no-norm+group-norm'"),
        (
            {"control": "controll"},
            "control: unknown scenario 'controll'. Did you mean 'control'",
        ),
        ({"arms": ["no-norm"]}, "control: 'control' is not among the arms no-norm"),
        (
            {"arms": ["control", "no-norm+remedy-agcc"]},
            "arms: unknown scenario 'no-norm+remedy-agcc'. Did you mean 'no-norm+remedy-agc'",
        ),
        ({"arms": ["control", "no-norm+group-norm+remedy-agc"]}, "arms: unknown scenario"),
        ({"causes": [], "remedies": []}, "arms: Field required"),
    ],
)
def test_mistakes_are_told(changed: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError) as error:
        suite(**changed)
    assert complaint in str(error.value)


def test_names() -> None:
    assert list(crossed_names("c", ["x"], ["y"])) == ["c", "x", "y", "x+y"]
    assert is_arm("no-norm")
    assert is_arm("no-norm+group-norm")
    assert not is_arm("no-norm+")
    assert not is_arm("+no-norm")
