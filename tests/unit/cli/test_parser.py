"""The grammar is Ultralytics' own, and every mistake gets one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ultralytics
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ultralytics import cfg as yolo_cfg

from yolo_stability.cli.parser import (
    KNOWN_TASKS,
    read_with_json,
    train_request,
    wants_help,
)
from yolo_stability.compat import cfg as yolo
from yolo_stability.config import make_settings
from yolo_stability.core.command_line import bare, find_verb, typed_command
from yolo_stability.core.errors import ConfigError

BASE = ["model=yolo26n.yaml", "data=shapes"]


def request(*args: str) -> Any:
    """Read a valid line with model and data given."""
    return train_request([*BASE, *args])


# --- the same grammar
# -------------------------------------------------------------------------------------------------

VALUES: dict[str, st.SearchStrategy[str]] = {
    "epochs": st.sampled_from(["3", "1e2", "300"]),
    "lr0": st.sampled_from(["1e-3", "0.01", "1"]),
    "imgsz": st.sampled_from(["640", "[320, 640]", "96"]),
    "batch": st.sampled_from(["16", "-1", "0.7"]),
    "device": st.sampled_from(["cpu", "0", "[0,1]", "0,1"]),
    "name": st.sampled_from(["7", "none", "a.b", "exp-2"]),
    "project": st.sampled_from(["123", "runs/x"]),
    "save": st.sampled_from(["true", "False"]),
    "freeze": st.sampled_from(["10", "[0, 1, 2]", "none"]),
    "optimizer": st.sampled_from(["SGD", "auto", "AdamW"]),
    "scale": st.sampled_from(["0.5", "[0.5, 2.0]"]),
    "classes": st.sampled_from(["[0,2]", "3"]),
    "quantize": st.sampled_from(["int8", "16"]),
    "hide_conf": st.sampled_from(["True"]),
}
LAYOUTS: list[Callable[[str, str], list[str]]] = [
    lambda key, value: [f"{key}={value}"],
    lambda key, value: [f"--{key}={value}"],
    lambda key, value: [f"{key}={value},"],
    lambda key, value: [key, "=", value],
    lambda key, value: [f"{key}=", value],
    lambda key, value: [key, f"={value}"],
    lambda key, value: f"{key}={value}".split(" "),
]
PAIR = st.one_of(
    *(
        st.builds(lambda layout, v, k=key: layout(k, v), st.sampled_from(LAYOUTS), value)
        for key, value in VALUES.items()
    )
)
FLAG = st.sampled_from([["plots"], ["--exist_ok"], ["nms"], ["half"], ["cos_lr,"]])


class FakeModel:
    """Stands in for `YOLO` and keeps what the entry point hands over."""

    calls: list[dict[str, Any]] = []  # noqa: RUF012

    def __init__(self, model: str, task: str | None = None) -> None:
        self.task = task or "detect"
        self.given = {"model": str(model), "task": task}

    def train(self, **overrides: Any) -> None:
        FakeModel.calls.append({**self.given, **overrides})


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    parts=st.lists(st.one_of(PAIR, FLAG), max_size=6),
    task=st.sampled_from([None, "detect", "pose"]),
    data=st.data(),
)
def test_a_line_means_the_same_after_yolo(
    monkeypatch: pytest.MonkeyPatch, parts: list[list[str]], task: str | None, data: st.DataObject
) -> None:
    model = "model=yolo26n-pose.yaml" if task == "pose" else BASE[0]
    whole = data.draw(st.permutations([*parts, [model], [BASE[1]], *([[task]] if task else [])]))
    args = [arg for part in whole for arg in part]
    with monkeypatch.context() as patch:
        patch.setattr(ultralytics, "YOLO", FakeModel)
        patch.setattr(yolo_cfg, "ARGV", ["yolo", "train", *args])
        yolo_cfg.entrypoint()
    theirs = FakeModel.calls.pop()
    got = train_request(args)
    assert (got.task, got.model, got.data) == (task, theirs.pop("model"), theirs.pop("data"))
    expected = vars(yolo_cfg.get_cfg(overrides=theirs))
    assert got.overrides == {key: expected[key] for key in theirs if key not in {"task", "mode"}}


def test_a_value_given_twice_counts_last() -> None:
    assert request("epochs=1", "epochs=2").overrides["epochs"] == 2


def test_a_small_number_is_a_number() -> None:
    assert request("lr0=1e-3", "optimizer=SGD").overrides["lr0"] == pytest.approx(0.001)


def test_own_keys_are_split_off() -> None:
    got = request("--guard=stop", "watch_every", "=", "5", "fault=nan_grad@3", "--json", "epochs=1")
    assert got.settings == make_settings(guard="stop", watch_every=5, fault="nan_grad@3")
    assert got.overrides == {"epochs": 1}
    assert got.json


def test_a_deprecated_key_is_translated() -> None:
    assert request("hide_labels=True").overrides == {"show_labels": False}


def test_a_cfg_file_lies_under_what_is_typed(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("epochs: 7\nlr0: 1e-3\nguard: stop\noptimizer: SGD\n")
    got = request(f"cfg={file}", "epochs=9")
    assert got.overrides == {"epochs": 9, "lr0": 0.001, "optimizer": "SGD"}
    assert got.settings.guard == "stop"


def test_resume_names_the_model_and_needs_no_data(tmp_path: Path) -> None:
    last = tmp_path / "last.pt"
    last.touch()
    got = train_request([f"resume={last}"])
    assert (got.model, got.data, got.overrides) == (str(last), None, {"resume": True})


@pytest.mark.parametrize(("task", "model"), [(None, "yolo26n.pt"), ("pose", "yolo26n-pose.pt")])
def test_without_a_model_the_one_of_yolo_is_taken_and_named(task: str | None, model: str) -> None:
    got = train_request([*([task] if task else []), "data=shapes"])
    assert got.model == model
    assert model in got.notes[0]


def test_several_datasets_stay_a_list() -> None:
    assert train_request(["model=yolo26n.yaml", "data=['a.yaml','b.yaml']"]).data == [
        "a.yaml",
        "b.yaml",
    ]


# --- finding the verb
# -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "verb", "rest"),
    [
        (["train", "epochs=1"], "train", ["epochs=1"]),
        (["detect", "train", "epochs=1"], "train", ["detect", "epochs=1"]),
        (["epochs=1", "--train,"], "train", ["epochs=1"]),
        (["name", "=", "train"], None, ["name", "=", "train"]),
        (["name=", "train"], None, ["name=", "train"]),
        (["train", "=x"], None, ["train", "=x"]),
        (["name=train", "list"], "list", ["name=train"]),
    ],
)
def test_the_verb_is_found_wherever_it_stands(
    args: list[str], verb: str | None, rest: list[str]
) -> None:
    assert find_verb(args, ["train", "list"]) == (verb, rest)


@pytest.mark.parametrize(
    ("args", "asked"),
    [
        (["a", "--json"], True),
        (["json", "a"], True),
        (["a", "json=True"], True),
        (["a", "--json", "json=True"], True),
        (["a", "json=false"], False),
        (["a"], False),
    ],
)
def test_json_is_a_word_or_a_key(args: list[str], asked: bool) -> None:
    assert read_with_json(args) == (["a"], {}, asked)


def test_json_is_true_or_false() -> None:
    with pytest.raises(ConfigError, match="Invalid value json=no: expected True or False"):
        read_with_json(["json=no"])


@pytest.mark.parametrize(
    ("program", "command"),
    [
        ("/usr/bin/yolo-stability", "yolo-stability seeds=5 benchmark 'out=a b'"),
        ("/lib/yolo_stability/__main__.py", "yolo-stability seeds=5 benchmark 'out=a b'"),
        ("pipeline.py", ""),
        ("/srv/yolo_stability/sweep.py", ""),
    ],
)
def test_the_typed_command_is_that_of_our_own_program(
    program: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [program, "seeds=5", "benchmark", "out=a b"])
    assert typed_command("benchmark") == command
    assert typed_command("compare") == ""
    monkeypatch.setattr("sys.argv", [])
    assert typed_command("benchmark") == ""


def test_a_value_is_no_bare_word() -> None:
    assert bare(["a", "=", "b", "c=", "d", "e", "=f", "--g,", "h=i"]) == [(7, "g")]
    assert not wants_help(["name=help", "name", "=", "help"])
    assert wants_help(["train", "-h"])


def test_the_known_tasks_cover_those_of_ultralytics() -> None:
    assert set(yolo.TASKS) <= set(KNOWN_TASKS)


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["gaurd=skip"], "Unknown key 'gaurd'. Did you mean 'guard'?"),
        (["epoch=3"], "Unknown key 'epoch'. Did you mean 'epochs'"),
        (["xyzzy=3"], "Unknown key 'xyzzy'. 'yolo-stability help train'"),
        (["epochs=-1"], "'epochs' must be >= 1"),
        (["epochs=1.5"], "'epochs' must be an int"),
        (
            ["batch=abc"],
            "Invalid value batch=abc: expected a whole number, 1 or more; -1 for automatic",
        ),
        (["batch=0"], "Invalid value batch=0: expected a whole number"),
        (["batch=2.5"], "batch=2.5: expected a whole number"),
        (["batch=True"], "batch=True: expected a whole number"),
        (["lr0=5"], "Valid 'lr0' values are between 0.0 and 1.0"),
        (["lr0=abc"], "'lr0=abc' is of invalid type str"),
        (["lr0=None"], "must not be None"),
        (["box=1e999"], ": expected a finite number"),
        (["imgsz=foo"], "imgsz=foo: expected a whole number of pixels"),
        (["imgsz=[]"], "expected a whole number of pixels"),
        (["imgsz=0"], "imgsz=0: expected a whole number of pixels"),
        (["workers=-1"], "workers=-1: expected a whole number, 0 or more"),
        (["time=-1"], "time=-1: expected a number, 0 or more"),
        (["optimizer=SDG"], "optimizer=SDG: expected one of auto, SGD"),
        (["cache=disc"], "cache=disc: expected True, False, ram or disk"),
        (["guard=maybe"], "expected off, skip or stop"),
        (["end2end=5"], "'end2end' must be a bool"),
        (["detekt"], "Unknown word 'detekt'. Did you mean 'detect'?"),
        (["epochs"], "'epochs' needs a value, such as epochs=100"),
        (["guard"], "'guard' needs a value: guard= takes off, skip or stop"),
        (["val"], "For the key, write val=True"),
        (["predict"], "Two verbs, 'train' and 'predict'"),
        (["mode=val"], "mode= contradicts the verb 'train'"),
        (["mode=train", "task=dettect"], "Unknown task 'dettect'. Did you mean 'detect'?"),
        (["detect", "pose"], "Two tasks, detect and pose"),
        (["json=3"], "expected True or False"),
        (["epochs="], "'epochs=' has no value"),
        (["[3"], "unmatched"),
        (["[", "=", "x"], ""),
        (["cfg=nofile.yaml"], "cfg=nofile.yaml cannot be read"),
        (["cfg=nofile.txt"], "cfg=nofile.txt cannot be read"),
        (["model=yolo62n.pt"], "Did you mean 'yolo26n.pt'"),
        (
            ["model=yolo26n.yml"],
            "neither a file nor a model that Ultralytics ships. Did you mean 'yolo26n.yaml'",
        ),
        (["model=nowhere/yolo26n.pt"], "neither a file"),
        (["model=tests"], "model=tests is a folder"),
        (["model=README.md"], "Ultralytics trains .pt and .yaml files"),
        (["model=yolo26n.onnx"], "Ultralytics trains .pt and .yaml files"),
        (["model=sam_b.pt"], "cannot be trained"),
        (
            ["pose"],
            "model=yolo26n.yaml is for detect; for pose use a model such as yolo26n-pose.yaml.",
        ),
        (["data=None"], "data= is missing. Try data=shapes"),
        (["tests"], "Write data=tests"),
    ],
)
def test_a_mistake_is_explained_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], args: list[str], said: str
) -> None:
    monkeypatch.chdir(Path(__file__).resolve().parents[3])
    with pytest.raises(ConfigError) as error:
        request(*args)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert len(capfd.readouterr().out.splitlines()) <= 1  # no page of help from Ultralytics


def test_a_value_without_a_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="'=3' has no key before the '='"):
        train_request(["=3"])


def test_a_cfg_file_without_keys_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "list.yaml"
    file.write_text("- 1\n")
    with pytest.raises(ConfigError, match="has no 'key: value' lines"):
        request(f"cfg={file}")


@pytest.mark.parametrize(
    "model",
    [
        "yolo26n",
        "yolo26n.pt",
        "yolo26x-pose.yaml",
        "yolov8.yaml",
        "rtdetr-l.pt",
        "yolov5n.pt",
        "models/v8/yolov8n.yaml",
        "https://example.com/x.pt",
    ],
)
def test_what_ultralytics_ships_is_a_model(model: str) -> None:
    yolo.check_model(model)


def test_a_file_is_a_model(tmp_path: Path) -> None:
    for name in ("sam_mine.pt", "my net.yaml"):
        (tmp_path / name).touch()
        yolo.check_model(str(tmp_path / name))


def test_a_head_of_its_own_kind_is_not_held_against_the_task() -> None:
    assert train_request(["detect", "model=rtdetr-l.yaml", "data=shapes"]).model == "rtdetr-l.yaml"
