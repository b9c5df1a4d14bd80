"""What a frontier is asked for: defaults from the control recipe, grids of settings, and mistakes
in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

import yolo_stability.compat.cfg as yolo
from yolo_stability.benchmarks.scenario import load_scenario
from yolo_stability.cli.main import main
from yolo_stability.config import OWN_KEYS
from yolo_stability.studies.frontier.grid import make_grid, split_values
from yolo_stability.studies.frontier.request import SEARCH_KEYS, make_request


def test_without_anything_else_it_is_the_control_recipe() -> None:
    request = make_request("lr_mult")
    control = load_scenario("control").arguments("detect")
    run = request.arguments(request.settings[0], 0, 4)
    assert {key: run[key] for key in control if key != "seed"} == {
        k: v for k, v in control.items() if k != "seed"
    }
    assert {key: run[key] for key in run.keys() - control.keys()} == {
        "lr_mult": 1.0,
        "fail_on": "critical",
        "guard": "stop",
        "incidents": 0,
    }
    assert run["seed"] == 4
    assert (request.values[0], request.values[-1]) == (1.0, 1000.0)
    assert request.seeds == (0,)


def test_the_task_follows_the_model() -> None:
    assert make_request("lr_mult", model="yolo26n-pose.yaml").recipe["data"] == "figures"
    assert make_request("lr_mult", task="pose").recipe["fliplr"] == 0


def test_the_axis_takes_the_place_of_its_key_and_whole_numbers_stay_whole() -> None:
    request = make_request("batch", nbs=1)
    runs = [
        request.arguments(request.settings[0], i, 0)["batch"] for i in range(len(request.values))
    ]
    assert runs == [8, 6, 4, 3, 2, 1]
    assert all(type(value) is int for value in runs)
    assert "batch" not in request.recipe


def test_values_with_commas_make_a_grid() -> None:
    request = make_request(
        "lr_mult", clip="norm:10,none", norm="batch,none", epochs=1e1, weight_decay=(0.0, 0.01)
    )
    assert [setting.label for setting in request.settings[:3]] == [
        "clip 10 + BatchNorm + weight_decay=0.0",
        "clip 10 + BatchNorm + weight_decay=0.01",
        "clip 10 + no norm + weight_decay=0.0",
    ]
    assert len({setting.name for setting in request.settings}) == 8
    last = request.arguments(request.settings[-1], 0, 0)
    assert (last["clip"], last["norm"], last["weight_decay"], last["epochs"]) == (
        "none",
        "none",
        0.01,
        10,
    )


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("clip=norm:10,none", ["norm:10", None]),
        ("optimizer=SGD,AdamW", ["SGD", "AdamW"]),
        ("lr0=0.1,0.01", [0.1, 0.01]),
        ("classes=[0,1]", [[0, 1]]),
        ("classes=[0,1],[2]", [[0, 1], [2]]),
        ("fraction=[32,4]", [[32, 4]]),
        ("residual=true,false", [True, False]),
        ("clip=agc:0.01", ["agc:0.01"]),
    ],
)
def test_brackets_hold_a_list_together(typed: str, values: list[Any]) -> None:
    key, value = next(iter(yolo.read([typed])[1].items()))
    assert split_values(key, value) == values


def test_names_of_settings_are_folders_and_tell_them_apart() -> None:
    settings = make_grid({"model": ["a/b.yaml", "a b.yaml", "A-b.yaml"]})
    names = [setting.name for setting in settings]
    assert len({name.lower() for name in names}) == 3
    assert all(name.replace("-", "").replace("_", "").replace(".", "").isalnum() for name in names)
    long = make_grid({"data": ["x" * 300 + "a", "x" * 300 + "b"]})
    assert len({setting.name for setting in long}) == 2
    assert all(len(setting.name) < 100 for setting in long)
    assert [s.name for s in make_grid({"norm": ["batch", "batch"]})] == ["norm-batch"]


def test_keys_of_the_search_are_no_keys_of_a_training() -> None:
    words = {*SEARCH_KEYS, "start", "end"} - {"axis"}
    assert not words & {*OWN_KEYS, *yolo.DEFAULT_CFG_DICT}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "'frontier' needs an axis, such as axis=lr_mult"),
        ("axes=lr_mult", "Did you mean 'axis'?"),
        ("axis=lr_mlt", "Invalid value axis=lr_mlt: no such key. Did you mean 'lr_mult'"),
        ("axis=clip", "Invalid value axis=clip: clip does not take a number"),
        ("axis=optimizer", "Invalid value axis=optimizer: optimizer does not take a number"),
        ("axis=seed", "seed is set for each run"),
        ("axis=5", "expected one key"),
        ("axis=lr_mult,batch", "Invalid value axis=lr_mult,batch: expected one key"),
        ("axis=[lr_mult,batch]", "expected one key"),
        (
            "lr_mult batch",
            "Unexpected argument 'batch': 'frontier' takes one axis and at most one task",
        ),
        ("detect pose axis=lr_mult", "Unexpected argument 'pose'"),
        ("axis=lr_mult lr_mult=3", "lr_mult is the axis, but also has a value"),
        ("axis=lr_mult from=10 to=10", "from=10 and to=10 are equal"),
        ("axis=lr_mult from=0", "Invalid value from=0: expected a number above 0"),
        ("axis=lr_mult to=-1", "Invalid value to=-1"),
        ("axis=lr_mult to=big", "Invalid value to=big"),
        ("axis=batch to=1.5", "Invalid value to=1.5: expected a whole number"),
        ("axis=l1", "axis=l1 starts at 0.0 in the recipe. Set from="),
        (
            "axis=momentum",
            "axis=momentum needs to=, the end at which training may be unstable; from= is 0.937",
        ),
        ("axis=momentum to=5", "momentum"),
        ("axis=lr_mult resolution=1", "expected a factor above 1"),
        ("axis=lr_mult resolution=1.0001", "at most 1000 are allowed"),
        ("axis=lr_mult resolution=x", "expected a factor above 1"),
        ("axis=lr_mult grid=1", "expected a number of values from 2 to 1000"),
        ("axis=lr_mult grid=5 resolution=2", "exclude each other"),
        ("axis=lr_mult seeds=0", "Invalid value seeds=0"),
        ("axis=lr_mult seeds=[]", "Invalid value seeds=[]"),
        ("axis=lr_mult seeds=two", "Invalid value seeds=two"),
        ("axis=lr_mult jobs=0", "Invalid value jobs=0"),
        (
            "axis=lr_mult seed=3",
            "'frontier' sets seed= for each run. Remove seed=. Did you mean 'seeds'?",
        ),
        ("axis=lr_mult fail_on=never", "'frontier' sets fail_on="),
        ("axis=lr_mult rescue=auto", "Invalid value rescue=auto: a frontier"),
        ("axis=lr_mult rescue=off,lower_rate", "Remove rescue="),
        ("segment axis=lr_mult", "Invalid task 'segment': 'frontier' takes detect or pose"),
        ("axis=lr_mult clip=norm:10,,none", "a value between its commas is empty"),
        ("axis=lr_mult clip=nrom:10,none", "Did you mean 'norm'"),
        ("axis=lr_mult resoluton=2", "Did you mean 'resolution'"),
        ("axis=lr_mult start=2", "Did you mean 'from'?"),
        (
            "axis=lr_mult data=shapes,figures",
            "Invalid value data=shapes,figures: expected a single value",
        ),
        ("axis=lr_mult data=nowhere.yaml", "nowhere.yaml"),
        ("axis=lr_mult model=yolo26n-pose.yaml task=detect", "is for pose"),
        ("axis=lr_mult model=yolo99n.yaml", "neither a file nor a model"),
        ("axis=lr_mult task=segment", "has no task 'segment'"),
        ("axis=lr_mult optimizer=SGD,SDG", "optimizer=SDG"),
        ("axis=lr0 optimizer=auto", "axis=lr0 would have no effect: optimizer=auto ignores lr0"),
        ("axis=lr_mult executor=cloud", "there is no executor 'cloud'"),
        ("axis=lr_mult address=auto", "address=auto requires a cluster executor"),
    ],
)
def test_a_mistake_is_one_sentence(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    said: str,
) -> None:
    import yolo_stability.api  # noqa: F401 - Ultralytics greets on stdout when it is imported for the first time

    capsys.readouterr()
    monkeypatch.chdir(tmp_path)
    assert main(["frontier", *line.split()]) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert out == ""
    assert err.count("\n") == 1, err
    assert not (tmp_path / "runs").exists()
