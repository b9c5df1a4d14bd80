"""Untrusted incidents: `diagnose` replays them, and neither model nor tensors run code."""

from __future__ import annotations

import pickle
import shutil
import socket
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from incident_sample import changed, written
from ultralytics.nn import tasks
from ultralytics.utils import ROOT, YAML

from yolo_stability.cli.main import main
from yolo_stability.core.errors import StabilityError
from yolo_stability.guard.incidents.layer_allowlist import checked_yaml
from yolo_stability.guard.incidents.replay import replay_incident

BANG = "bang"
TOUCH = f"__import__('pathlib').Path('{BANG}').touch()"
Change = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("good") / "step-000007")


@pytest.fixture
def incident(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy in a working folder with payloads under the names that a model may request."""
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Payload()}, tmp_path / "evil.pt")
    (tmp_path / "evil.yaml").write_text(f"nc: 1\nactivation: {TOUCH}\nbackbone: []\nhead: []\n")
    return Path(shutil.copytree(good, tmp_path / "step-000007"))


class Payload:
    """Makes a file when it is unpickled."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path(BANG),)


def layer(*row: Any) -> Change:
    """Put a row in the place of the first layer."""
    return lambda content: content["model"]["yaml"]["backbone"].__setitem__(0, list(row))


def key(name: str, value: Any) -> Change:
    """Set a key of the model's YAML."""
    return lambda content: content["model"]["yaml"].__setitem__(name, value)


def test_an_incident_is_replayed(incident: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(incident)]) == 0
    assert "Reproduced: image bad.jpg, first bad module model.0 Conv" in " ".join(
        capsys.readouterr().out.split()
    )


CODE: dict[str, Change] = {
    "activation": key("activation", f"{TOUCH} or torch.nn.SiLU()"),
    "activation that begins well": key("activation", f"nn.SiLU({TOUCH})"),
    "activation by a name": key("activation", f"nn.SiLU(*[{TOUCH}])"),
    "activation of a method": key("activation", "torch.nn.modules.module.Module.apply()"),
    "activation with a table": key("activation", f"nn.SiLU(**{{'inplace': {TOUCH}}})"),
    "function of Ultralytics": layer(-1, 1, "torch_safe_load", ["evil.pt"]),
    "another function": layer(-1, 1, "load_checkpoint", ["evil.pt"]),
    "a model as a layer": layer(-1, 1, "DetectionModel", ["evil.yaml"]),
    "a module of Python": layer(-1, 1, "Path", [BANG]),
    "a function of torch.nn": layer(-1, 1, "nn.factory_kwargs", [[]]),
    "a submodule of torch.nn": layer(-1, 1, "nn.functional", []),
    "a function of torchvision": layer(-1, 1, "torchvision.ops.nms", []),
    "a builtin": layer(-1, 1, "__builtins__", []),
    "text as an argument": layer(-1, 1, "Conv", [TOUCH]),
    "a function": lambda content: content["model"].update({"class": "torch_safe_load"}),
    "a class of another module": lambda content: content["model"].__setitem__("class", "Path"),
}  # fmt: skip


@pytest.mark.parametrize("name", CODE)
def test_a_model_that_would_run_code_is_refused(
    name: str, incident: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(incident, CODE[name])
    assert main(["diagnose", str(incident)]) == 2
    captured = capsys.readouterr().err
    assert "built" in captured
    assert captured.count("\n") == 1
    assert not (tmp_path / BANG).exists()


SIZE: dict[str, Change] = {
    "wide": layer(-1, 1, "Conv", [900_000, 9, 2]),
    "wider than a number": layer(-1, 1, "Conv", [10**12, 3, 2]),
    "many repeats": layer(-1, 10**9, "nn.Identity", []),
    "many layers": lambda content: content["model"]["yaml"]["backbone"].extend(
        [[-1, 1, "nn.Identity", []]] * 5000
    ),
    "a wide scale": key("width_multiple", 1e9),
    "a deep scale": key("scales", {"n": [1e9, 1.0, 1024]}),
    "many classes": key("nc", 10**9),
    "many channels": key("ch", 10**6),
    "nested arguments": layer(-1, 1, "Conv", [[[[[[[[8]]]]]]]]),
    "not a number": layer(-1, 1, "Conv", [float("nan"), 3, 2]),
    "not a list": key("head", {"a": 1}),
    "not a row": layer(-1, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", SIZE)
def test_a_model_that_would_fill_the_memory_is_refused(
    name: str, incident: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(incident, SIZE[name])
    start = time.monotonic()
    assert main(["diagnose", str(incident)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert time.monotonic() - start < 30


def test_what_a_model_of_torchvision_is_made_of_is_never_fetched(
    incident: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetched(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", fetched)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fetched)
    for arguments in (["DEFAULT", True, 2], ["DEFAULT"], []):
        changed(incident, layer(-1, 1, "TorchVision", [576, "mobilenet_v3_small", *arguments]))
        with pytest.raises(
            StabilityError, match="cannot be built here"
        ):  # its weights are of another model
            replay_incident(incident)


def test_every_model_of_ultralytics_may_be_asked_for() -> None:
    files = [
        file
        for file in sorted((Path(ROOT) / "cfg" / "models").rglob("*.yaml"))
        if "backbone" in YAML.load(file)
    ]
    assert len(files) > 40
    for file in files:
        content = {**YAML.load(file), "yaml_file": str(file), "scale": "n", "ch": 3}
        checked = checked_yaml(content)
        assert {**checked, "backbone": None} == {**content, "backbone": None}
        assert [row[:3] for row in checked["backbone"]] == [row[:3] for row in content["backbone"]]
    assert hasattr(tasks, "torch_safe_load")  # what the tests above would call is still there


# --- tensors --------------------------------------------------------------------------------------


def compressed(file: Path) -> None:
    """Rewrite the file of tensors with compressed records: small on disk, large in memory."""
    with zipfile.ZipFile(file) as source:
        records = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in records.items():
            target.writestr(name, content)


def shared(file: Path) -> None:
    """Let a hundred tensors share one run of bytes, and unfold along an axis."""
    block = torch.zeros(1000)
    torch.save({f"model.{i}": block for i in range(100)}, file)


TENSORS: dict[str, Callable[[Path], Any]] = {
    "a pickle": lambda file: file.write_bytes(pickle.dumps(Payload())),
    "an object": lambda file: torch.save(Payload(), file),
    "an object among tensors": lambda file: torch.save({"a": torch.zeros(2), "b": Payload()}, file),
    "a module": lambda file: torch.save({"a": torch.nn.Linear(2, 2)}, file),
    "compressed records": compressed,
    "shared bytes": shared,
    "a tensor that unfolds": lambda file: torch.save({"img": torch.zeros(1).expand(10**9)}, file),
    "a list": lambda file: torch.save([torch.zeros(2)], file),
    "nothing": lambda file: file.write_bytes(b""),
    "garbage": lambda file: file.write_bytes(b"PK\x03\x04" + bytes(500)),
}


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("file", ["weights.pt", "batch-0.pt", "rng.pt"])
def test_tensors_are_read_and_nothing_else(
    name: str, file: str, incident: Path, tmp_path: Path
) -> None:
    TENSORS[name](incident / file)
    with pytest.raises(StabilityError, match="is damaged") as error:
        replay_incident(incident)
    assert "\n" not in str(error.value)
    assert not (tmp_path / BANG).exists()


def test_a_folder_larger_than_any_incident_is_not_read(incident: Path) -> None:
    with (incident / "batch-1.pt").open("wb") as file:
        file.truncate(2 * 2**30)  # a hole: it takes no room on the disk
    with pytest.raises(
        StabilityError, match=r"has 2,\d+,\d+,\d+ bytes; an incident has at most 536,870,912"
    ):
        replay_incident(incident)


@pytest.mark.parametrize("place", [625, 10**6, -1])
def test_a_random_state_that_points_beyond_its_words_is_refused(place: int, incident: Path) -> None:
    states = torch.load(incident / "rng.pt", weights_only=True)
    states["0.numpy"][-2] = place
    torch.save(states, incident / "rng.pt")
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    with pytest.raises(StabilityError, match="not a valid state of a random generator"):
        replay_incident(incident)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.__setitem__("culprit", 3),
        lambda content: content.__setitem__("hits", None),
        lambda content: content["window"][0].__setitem__("images", 3),
        lambda content: content["window"].extend(content["window"] * 3),
        lambda content: content.__setitem__("device", ["cuda"]),
        lambda content: content.__setitem__("settings", {"guard": "none"}),
        lambda content: content["args"].__setitem__("box", "x"),
        lambda content: content["model"].__setitem__(
            "attributes", {"forward": "x", "__class__": "y", "model": 3}
        ),
        lambda content: content["model"].__setitem__("criterion", {"bce": 3, "hyp": 1}),
    ],
)
def test_facts_that_do_not_fit_get_one_sentence_or_a_verdict(
    change: Change, incident: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(incident, change)
    assert main(["diagnose", str(incident)]) in {0, 2, 3, 4}
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    assert "Unexpected" not in captured.err


def test_json_nested_without_end_gets_one_sentence(
    incident: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (incident / "incident.json").write_text("[" * 1_000_000)
    assert main(["diagnose", str(incident)]) == 2
    assert "is damaged (RecursionError" in capsys.readouterr().err
