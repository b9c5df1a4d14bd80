"""The probe on real models, against the first step of stock Ultralytics and known values."""

from __future__ import annotations

import json
import math
import random
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from shorter import DETECT_SHORT
from training import DATA, NANO, overrides, train_stock
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionTrainer

from yolo_stability import api
from yolo_stability.cli.commands.probe import VERB
from yolo_stability.cli.main import main
from yolo_stability.config import make_settings
from yolo_stability.core.errors import ConfigError, DataError
from yolo_stability.studies.probe import run as probing
from yolo_stability.studies.probe.request import ProbeRequest
from yolo_stability.studies.probe.result import BlockFlow, ProbeResult

pytestmark = [pytest.mark.trains, pytest.mark.smoke]
SETTINGS: dict[str, dict[str, Any]] = {
    "stock": {},
    "none": {"norm": "none"},
    "none kaiming": {"norm": "none", "init": "kaiming"},
    "none lsuv": {"norm": "none", "init": "lsuv"},
    "none gain": {"norm": "none", "init": "gain:3"},
    "group": {"norm": "group"},
    "no residuals": {"residual": False},
    "sigmoid": {"act": "sigmoid"},
    "sigmoid none": {"act": "sigmoid", "norm": "none"},
    "overflow": {"norm": "none", "init": "gain:30"},
}


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the thread count, which Ultralytics raises on CPU and which changes the last bits."""
    monkeypatch.setattr("ultralytics.utils.torch_utils.NUM_THREADS", 1)
    torch.set_num_threads(1)


@pytest.fixture(scope="module", params=DETECT_SHORT)
def grid(request: pytest.FixtureRequest) -> tuple[str, dict[str, ProbeResult]]:
    """Probe every setting once a task."""
    task = request.param
    results = api.probe_grid(model=NANO[task], data=DATA[task], grid=list(SETTINGS.values()))
    return task, dict(zip(SETTINGS, results, strict=True))


def trunk(result: ProbeResult, role: str = "backbone") -> list[BlockFlow]:
    return [block for block in result.blocks if block.role == role]


def level(result: ProbeResult) -> float:
    """Return the median gradient norm of the backbone."""
    return float(
        np.median([block.grad_norm for block in trunk(result) if block.grad_norm is not None])
    )


def head_norm(result: ProbeResult) -> float:
    return math.hypot(
        *(b.grad_norm for b in result.blocks if b.role not in {"backbone", "neck"} and b.grad_norm)
    )


# --- against stock Ultralytics --------------------------------------------------------------------


@pytest.mark.parametrize("task", DETECT_SHORT)
def test_the_stock_profile_is_the_first_step_of_a_stock_training(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradients as passed to `clip_grad_norm_`; outputs and their gradients by `retain_grad`."""
    outputs: dict[int, torch.Tensor] = {}
    handles: list[Any] = []

    def keep(index: int, output: Any) -> None:
        if index not in outputs and isinstance(output, torch.Tensor) and output.requires_grad:
            output.retain_grad()
            outputs[index] = output

    def watch(trainer: Any) -> None:
        handles.extend(
            layer.register_forward_hook(lambda _m, _a, out, i=layer.i: keep(i, out))
            for layer in trainer.model.model
        )

    def stop(trainer: Any) -> None:
        for handle in handles:
            handle.remove()

    changed = {"epochs": 1, "warmup_epochs": 0, "save": False}
    stock = train_stock(
        task,
        tmp_path,
        monkeypatch,
        models=NANO,
        callbacks={"on_train_start": watch, "on_train_batch_end": stop},
        **changed,
    )
    asked = {
        k: v
        for k, v in overrides(task, tmp_path).items()
        if k in {"imgsz", "batch", "fraction", "seed"}
    }
    result = api.probe(model=NANO[task], data=DATA[task], device="cpu", **asked)

    first = stock.gradients[0]
    assert result.total == pytest.approx(stock.totals[0], rel=1e-5)
    for block in result.blocks:
        prefix = f"{block.name.split(' ')[0]}."
        members = [
            g.double().square().sum() for name, g in first.items() if name.startswith(prefix)
        ]
        assert block.grad_norm == pytest.approx(
            float(torch.stack(members).sum().sqrt()), rel=1e-5
        ), block.name
    compared = 0
    for block in trunk(result) + trunk(result, "neck"):
        output = outputs[int(block.name.split(" ")[0].split(".")[1])]
        assert output.grad is not None
        assert block.output_grad_norm == pytest.approx(
            float(output.grad.double().norm()), rel=1e-5
        ), block.name
        values = output.detach().double()
        assert block.activation_rms == pytest.approx(float(values.square().mean().sqrt()), rel=1e-5)
        assert block.activation_std == pytest.approx(float(values.std(correction=0)), rel=1e-5)
        compared += 1
    assert compared >= 15
    assert result.verdict == "healthy"


# --- against what is known by hand ----------------------------------------------------------------


def test_every_setting_gets_its_verdict(grid: tuple[str, dict[str, ProbeResult]]) -> None:
    verdicts = {name: result.verdict for name, result in grid[1].items()}
    assert verdicts == {
        "stock": "healthy",
        "none": "vanishing",
        "none kaiming": "vanishing",
        "none lsuv": "healthy",
        "none gain": "exploding",
        "group": "healthy",
        "no residuals": "healthy",
        "sigmoid": "healthy",
        "sigmoid none": "vanishing",
        "overflow": "exploding",
    }


def test_gradients_have_the_orders_of_magnitude_seen_by_hand(
    grid: tuple[str, dict[str, ProbeResult]],
) -> None:
    """Over stock, so that detect and pose, whose losses differ by two decades, share one table."""
    results = grid[1]
    stock = level(results["stock"])
    bounds = {
        "none": (1e-9, 1e-5),
        "none kaiming": (1e-4, 1e-1),
        "group": (0.1, 10),
        "no residuals": (0.3, 4),
        "sigmoid": (1e-3, 0.2),
        "sigmoid none": (1e-11, 1e-5),
        "none gain": (1e4, 1e10),
    }
    found = {name: level(results[name]) / stock for name in bounds}
    assert {
        name: low < found[name] < high for name, (low, high) in bounds.items()
    } == dict.fromkeys(bounds, True), found


def test_the_first_block_over_the_head_is_as_seen_by_hand(
    grid: tuple[str, dict[str, ProbeResult]],
) -> None:
    ratios = {
        name: (trunk(result)[0].grad_norm or 0.0) / head_norm(result)
        for name, result in grid[1].items()
        if name != "overflow"
    }
    assert 1 < ratios["stock"] < 5
    assert ratios["none"] < 1e-4
    assert ratios["sigmoid none"] < 1e-8
    assert 1e-4 < ratios["none kaiming"] < 0.2
    measured = {
        name: result.measures.first_over_head for name, result in grid[1].items() if name in ratios
    }
    assert measured == pytest.approx(ratios)


def test_on_detection_the_absolute_numbers_agree_too(
    grid: tuple[str, dict[str, ProbeResult]],
) -> None:
    if grid[0] != "detect":
        assert grid[1]["stock"].total > 1e4  # the keypoint loss
        return
    stock = grid[1]["stock"]
    assert 300 < stock.total < 4000
    assert all(50 < (block.grad_norm or 0) < 1000 for block in trunk(stock))


def test_what_lsuv_promises_holds_for_the_signal(grid: tuple[str, dict[str, ProbeResult]]) -> None:
    """Unit variance of the layers keeps blocks near stock, while plain removal lets them vanish."""
    ends = {
        name: grid[1][name].blocks[16].activation_std or 0.0
        for name in ("stock", "none", "none lsuv")
    }
    assert ends["none"] < 1e-6 * ends["stock"]
    assert 0.3 < ends["none lsuv"] / ends["stock"] < 3


def test_a_result_says_what_was_done(grid: tuple[str, dict[str, ProbeResult]]) -> None:
    task, results = grid
    assert results["none"].settings == {"norm": "none"}
    assert "BatchNorm" in results["none"].changes["norm"]
    assert "first batch" in results["none lsuv"].changes["init"]
    assert results["stock"].settings == results["stock"].changes == {}
    assert {r.reference.total for r in results.values()} == {results["stock"].total}
    assert results["none"].request == {
        "model": NANO[task],
        "task": task,
        "data": DATA[task],
        "imgsz": 160,
        "batch": 8,
        "seed": 0,
        "mosaic": 0.0,
    }
    json.dumps([result.to_json() for result in results.values()], allow_nan=False)


# --- a probe leaves no trace ----------------------------------------------------------------------


def test_a_probe_repeats_itself_whatever_came_before() -> None:
    """A setting alone and last in a grid gives the same numbers, despite advanced random states."""
    small = {"model": NANO["detect"], "data": "shapes", "imgsz": 64, "fraction": [32, 4]}
    alone = api.probe(norm="group", **small)
    random.random()
    torch.rand(3)
    last = api.probe_grid(grid=[{}, {"act": "relu"}, {"norm": "group"}], **small)[-1]
    assert alone.blocks == last.blocks
    assert api.probe(norm="group", seed=1, **small).total != alone.total


def test_the_process_is_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random generators, threads, temporary folders, the working folder and the user's model."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    (tmp_path / "temp").mkdir()
    yolo = YOLO(NANO["detect"])
    weights = {name: tensor.clone() for name, tensor in yolo.model.state_dict().items()}
    callbacks = {event: list(functions) for event, functions in yolo.callbacks.items()}
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    expected = (
        random.Random(5).random(),
        np.random.RandomState(5).rand(),
        torch.Generator().manual_seed(5),
    )
    result = api.probe(model=yolo, data="shapes", imgsz=64, fraction=[32, 4], norm="none")
    assert (random.random(), np.random.rand()) == expected[:2]  # noqa: NPY002
    assert torch.equal(torch.rand(4), torch.rand(4, generator=expected[2]))
    assert torch.get_num_threads() == 1
    assert not torch.are_deterministic_algorithms_enabled()
    assert list((tmp_path / "temp").iterdir()) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["temp"]
    assert all(
        torch.equal(weights[name], tensor) for name, tensor in yolo.model.state_dict().items()
    )
    assert {event: list(functions) for event, functions in yolo.callbacks.items()} == callbacks
    assert result.verdict == "vanishing"


def test_the_data_set_is_loaded_once_a_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    build = DetectionTrainer.build_dataset

    def counted(self: Any, path: str, mode: str = "train", batch: int | None = None) -> Any:
        built.append(mode)
        return build(self, path, mode, batch)

    monkeypatch.setattr(DetectionTrainer, "build_dataset", counted)
    api.probe_grid(
        model=NANO["detect"],
        data="shapes",
        imgsz=64,
        fraction=[32, 4],
        grid=[{"norm": "none"}, {}],
    )
    assert sorted(built) == ["train", "val"]


def test_a_checkpoint_is_probed_with_its_weights(tmp_path: Path) -> None:
    """The stock profile uses the given weights, and `model=` as path and as object agree."""
    small: dict[str, Any] = {"data": "shapes", "imgsz": 64, "fraction": [32, 4]}
    torch.manual_seed(3)
    yolo = YOLO(NANO["detect"])
    with torch.no_grad():
        yolo.model.model[0].bn.weight.mul_(10)
    yolo.save(tmp_path / "mine.pt")
    result = api.probe(model=tmp_path / "mine.pt", **small)
    new = api.probe(model=NANO["detect"], **small)
    assert 5 < (trunk(result)[0].activation_std or 0.0) / (trunk(new)[0].activation_std or 1.0) < 15
    assert api.probe(model=YOLO(tmp_path / "mine.pt"), **small).blocks == result.blocks


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"norm": "gruop"}, "Did you mean 'group'"),
        ({"nrom": "group"}, "Did you mean 'norm'"),
        (
            {"clip": "agc:0.01"},
            "clip=agc:0.01 has no effect in a probe, which takes no optimizer step",
        ),
        ({"guard": "off"}, "guard=off has no effect in a probe"),
        ({"batch": -1}, "a probe needs a number of images, such as batch=8"),
        ({"resume": True}, "does not train"),
        ({"device": "0,1"}, "a single device"),
        ({"task": "pose"}, "is for detect; for pose use a model such as"),
        ({"model": "yolo26.yml"}, "neither a file nor a model"),
        ({"depth_mult": 0}, "a number above 0"),
    ],
)
def test_a_mistake_is_one_sentence_before_anything_is_built(
    wrong: dict[str, Any], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "load_model", lambda *_: pytest.fail("a model was built"))
    with pytest.raises(ConfigError) as error:
        api.probe(**{"model": NANO["detect"], "data": "shapes", **wrong})
    assert text in str(error.value)


def test_data_of_another_task_is_refused() -> None:
    with pytest.raises(DataError, match="use data=figures"):
        api.probe(model=NANO["pose"], data="shapes")


def test_a_switch_that_finds_nothing_to_change_is_refused() -> None:
    with pytest.raises(ConfigError, match="no skip connection"):
        api.probe(
            model="yolov3-tiny.yaml", data="shapes", imgsz=64, fraction=[32, 4], residual=False
        )


# --- the command line -----------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Take what the verb hands to the API, and probe nothing."""
    taken: dict[str, Any] = {}

    def probe_checked(request: ProbeRequest) -> tuple[ProbeResult, ...]:
        taken.update({f.name: getattr(request, f.name) for f in fields(request)})
        taken["grid"] = [monitor.settings for monitor in taken.pop("monitors")]
        return ()

    monkeypatch.setattr(api, "probe_checked", probe_checked)
    monkeypatch.setattr(
        api, "draw_probes", lambda results, folder: folder / "probe.png", raising=False
    )
    monkeypatch.setattr("yolo_stability.cli.show.show_probes", lambda results, picture: None)
    return taken


def test_commas_make_a_grid(asked: dict[str, Any]) -> None:
    VERB.run(
        [
            "model=yolo26n.yaml",
            "data=shapes",
            "norm=batch,none",
            "init=default,gain:3",
            "imgsz=96",
            "detect",
        ]
    )
    assert asked == {
        "task": "detect",
        "model": "yolo26n.yaml",
        "data": "shapes",
        "overrides": {"imgsz": 96},
        "grid": [
            make_settings(norm="batch"),
            make_settings(norm="batch", init="gain:3"),
            make_settings(norm="none"),
            make_settings(norm="none", init="gain:3"),
        ],
    }


@pytest.mark.parametrize(
    ("typed", "grid"),
    [
        ("residual=true,false", [{"residual": True}, {"residual": False}]),
        ("depth_mult=0.5,2", [{"depth_mult": 0.5}, {"depth_mult": 2}]),
        ("act=relu,relu", [{"act": "relu"}]),
        ("imgsz=64", [{}]),
    ],
)
def test_values_in_a_grid_are_read_as_if_they_stood_alone(
    asked: dict[str, Any], typed: str, grid: list[dict[str, Any]]
) -> None:
    VERB.run(["model=yolo26n.yaml", "data=shapes", typed])
    assert asked["grid"] == [make_settings(**setting) for setting in grid]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("model=yolo26n.yaml", "data= needs one dataset"),
        ("model=yolo26n.yaml data=shapes norm=batch,,none", "a value between its commas is empty"),
        ("model=yolo26n.yaml data=shapes inti=kaiming", "Did you mean 'init'"),
        ("model=yolo26n.yaml data=shapes detec", "Did you mean 'detect'"),
        (
            "model=yolo26n.yaml data=shapes detect pose",
            "Two tasks, detect and pose. Remove one of them.",
        ),
        ("model=yolo26n.yaml data=shapes task=poes", "Did you mean 'pose'"),
        ("model=yolo26n.yaml data=shapes json=maybe", "expected True or False"),
        ("model=yolo26n.yaml data=shapes out=taken/x", "Cannot create the folder out=taken/x"),
    ],
)
def test_a_line_that_cannot_be_read_is_answered_in_one_sentence(
    asked: dict[str, Any], line: str, text: str
) -> None:
    Path("taken").touch()
    with pytest.raises(ConfigError) as error:
        VERB.run(line.split())
    assert text in str(error.value)
    assert asked == {}


def test_the_command_prints_draws_and_ends_with_3_where_something_vanishes(
    capfd: pytest.CaptureFixture[str],
) -> None:
    line = "probe model=yolo26n.yaml data=shapes imgsz=64 fraction=0.25 norm=batch,none"
    assert main(line.split()) == 3
    out = capfd.readouterr().out
    assert "stock: healthy." in out
    assert "norm=none: vanishing. From the head back" in out
    assert Path("runs/probe/probe.png").stat().st_size > 10_000
    assert sorted(p.name for p in Path().iterdir()) == ["runs"]


def test_json_is_all_that_goes_to_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    line = "probe model=yolo26n.yaml data=shapes imgsz=64 fraction=0.25 norm=group out=here --json"
    assert main(line.split()) == 0
    content = json.loads(capfd.readouterr().out)
    assert content["picture"] == "here/probe.png"
    assert [(s["label"], s["verdict"]) for s in content["settings"]] == [("norm=group", "healthy")]
