"""User input is validated once on its way to a run, from the command line and from Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest

from yolo_stability import api, config
from yolo_stability.cli.main import main
from yolo_stability.compat import cfg


class Started(Exception):
    """Everything has been checked: the first run, or the model of a probe, would start."""


@dataclass
class Checks:
    """What the validators were asked.

    They are watched where every check ends: `get_cfg` and `check_dict_alignment` of Ultralytics,
    the pydantic model of yolo_stability options, and the look-up of a model's name.

    Attributes:
        values: Keys of Ultralytics with their values, as often as they were checked.
        names: Keys of Ultralytics with their values, as often as the names were looked up.
        options: Combinations of yolo_stability options, as often as they were checked.
        models: Names of models, as often as they were looked up.
        started: Whether the run would have started.
    """

    values: Counter[tuple[str, str]] = field(default_factory=Counter)
    names: Counter[tuple[str, str]] = field(default_factory=Counter)
    options: Counter[frozenset[tuple[str, Any]]] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    started: bool = False

    def repeated(self) -> dict[str, Any]:
        """Return what was checked more than once."""
        counts = (self.values, self.names, self.options, self.models)
        return {str(key): n for count in counts for key, n in count.items() if n > 1}


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Checks:
    """Watch the validators, and start nothing."""
    found = Checks()
    watched: Mapping[tuple[Any, str], Callable[..., None]] = {
        (cfg, "get_cfg"): lambda overrides: found.values.update(pairs(overrides)),
        (cfg, "check_dict_alignment"): lambda base, keys: found.names.update(pairs(keys)),
        (config, "StabilitySettings"): lambda **own: found.options.update([frozenset(own.items())]),
        (cfg, "check_yolov5u_filename"): lambda model, **_: found.models.update([model]),
    }
    for (module, name), note in watched.items():
        monkeypatch.setattr(module, name, watching(getattr(module, name), note))

    def start(*_: object, **__: object) -> NoReturn:
        found.started = True
        raise Started

    for place in (
        "trainer.train.load_model",
        "studies.probe.run.load_model",
        "benchmarks.runner.run_missing",
        "studies.frontier.search.run_missing",
    ):
        monkeypatch.setattr(f"yolo_stability.{place}", start)
    monkeypatch.setattr("yolo_stability.studies.frontier.run.resolve_data", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    return found


def pairs(keys: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return keys and values as something that can be counted."""
    return [(key, repr(value)) for key, value in keys.items()]


def watching(check: Callable[..., Any], note: Callable[..., None]) -> Callable[..., Any]:
    """Return a validator that notes what it is asked."""

    def watched(*args: Any, **keys: Any) -> Any:
        note(*args, **keys)
        return check(*args, **keys)

    return watched


LINES = {
    "train": "train model=yolo26n.pt data=shapes batch=4 lr0=0.02 optimizer=SGD clip=norm:1",
    "probe": "probe model=yolo26n.pt data=shapes batch=4 lr0=0.02 norm=batch,none init=lsuv",
    "benchmark": "benchmark suite=quick model=yolo26n.pt task=detect batch=4 lr0=0.02 l1=0.1",
    "frontier": "frontier axis=lr_mult model=yolo26n.pt batch=4 lr0=0.02 clip=norm:1,none,agc:0.01",
    "frontier along a key of Ultralytics": (
        "frontier axis=lr0 from=0.001 to=0.1 model=yolo26n.pt batch=4 optimizer=SGD,AdamW l1=0.1"
    ),
}
CALLS: dict[str, Callable[[], object]] = {
    "train": lambda: api.train(model="yolo26n.pt", data="shapes", batch=4, lr0=0.02, clip="none"),
    "probe": lambda: api.probe(model="yolo26n.pt", data="shapes", batch=4, lr0=0.02, norm="none"),
    "probe_grid": lambda: api.probe_grid(
        model="yolo26n.pt", data="shapes", batch=4, lr0=0.02, grid=[{"norm": "none"}, {}]
    ),
    "benchmark": lambda: api.benchmark("quick", model="yolo26n.pt", batch=4, lr0=0.02, l1=0.1),
    "frontier": lambda: api.frontier("lr_mult", model="yolo26n.pt", batch=4, lr0=0.02, l1=0.1),
}


@pytest.mark.parametrize("verb", LINES)
def test_a_line_is_validated_once(verb: str, checks: Checks) -> None:
    main(LINES[verb].split())
    assert_once(checks)


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_validated_once(name: str, checks: Checks) -> None:
    with pytest.raises(Started):
        CALLS[name]()
    assert_once(checks)


def assert_once(checks: Checks) -> None:
    """Check that everything was validated, and nothing twice."""
    assert checks.started
    assert checks.repeated() == {}
    assert checks.values["batch", "4"] == checks.names["batch", "4"] == 1
    assert checks.options
    assert checks.models["yolo26n.pt"] == 1
