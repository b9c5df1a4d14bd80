"""Incidents of real trainings: the planted culprit is named, a fresh process sees it again, and nobody else notices."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from training import MODELS, one_thread, overrides, state
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionTrainer

from yolo_stability import load_trace
from yolo_stability.core.errors import StabilityError
from yolo_stability.guard.incidents.capture import IncidentKeeper
from yolo_stability.guard.incidents.replay import replay_incident
from yolo_stability.trainer.base_monitor import Monitor

pytestmark = pytest.mark.trains

EIGHTY = {"fraction": [80, 4], "epochs": 1}
REPLAY = """
import json, sys
from dataclasses import asdict
from pathlib import Path
import torch
torch.set_num_threads(1)
from yolo_stability.guard.incidents.replay import replay_incident
print("RESULT" + json.dumps(asdict(replay_incident(Path(sys.argv[1])))))
"""


class Run:
    """A watched run and the incidents that it left."""

    def __init__(
        self,
        task: str,
        folder: Path,
        *,
        own: dict[str, Any] | None = None,
        callbacks: dict[str, Callable[[Any], None]] | None = None,
        **changed: Any,
    ) -> None:
        model = YOLO(MODELS[task])
        for event, callback in (callbacks or {}).items():
            model.add_callback(event, callback)
        one_thread(model)
        monitor = Monitor(**(own or {})).attach(model)
        self.error: str | None = None
        try:
            model.train(**overrides(task, folder, **changed))
        except RuntimeError as error:
            self.error = str(error)
        self.trainer, self.save_dir = model.trainer, monitor.save_dir
        self.trace = load_trace(self.save_dir)

    @property
    def folders(self) -> list[Path]:
        """The incident folders."""
        return sorted((self.save_dir / "stability" / "incidents").glob("*"))

    def events(self) -> list[dict[str, Any]]:
        """The data of the events, with block and step."""
        rows = self.trace.events.filter(pl.col("kind") == "incident")
        return [
            {**json.loads(data), "block": block, "step": step}
            for data, block, step in rows.select("data", "block", "step").rows()
        ]


def facts(folder: Path) -> dict[str, Any]:
    """Return what an incident folder says."""
    found: dict[str, Any] = json.loads((folder / "incident.json").read_text())
    return found


@contextmanager
def planted(value: float, draws: random.Random) -> Iterator[dict[str, str]]:
    """Plant a value in a random pixel of one random image of the training, before anything of ours sees the batch."""
    stock: Callable[..., Any] = DetectionTrainer.preprocess_batch
    hit: dict[str, str] = {}

    def poisoned(trainer: Any, batch: dict[str, Any]) -> dict[str, Any]:
        batch = stock(trainer, batch)
        if "name" not in hit:
            hit["name"] = draws.choice(
                sorted(Path(file).name for file in trainer.train_loader.dataset.im_files)
            )
        for image, file in zip(batch["img"], batch["im_file"], strict=True):
            if trainer.model.training and Path(file).name == hit["name"]:
                image[
                    draws.randrange(3),
                    draws.randrange(image.shape[1]),
                    draws.randrange(image.shape[2]),
                ] = value
        return batch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DetectionTrainer, "preprocess_batch", poisoned)
        yield hit


def replayed(folder: Path) -> dict[str, Any]:
    """Return what a fresh process sees."""
    done = subprocess.run(
        [sys.executable, "-c", REPLAY, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(done.stdout.split("RESULT")[1])
    return result


def plant_and_replay(times: int, folder: Path) -> None:
    """Plant a pixel in runs of both tasks, NaN and inf in turn, and check incident and replay of each."""
    draws = random.Random(7)
    for i in range(times):
        task, value = ("detect", "pose")[i % 4 == 3], (torch.nan, torch.inf)[i % 2]
        with planted(value, draws) as hit:
            run = Run(task, folder / str(i), own={"guard": "stop"}, seed=i, **EIGHTY)
        (where,) = run.folders
        culprit = facts(where)["culprit"]
        assert [Path(file).name for file in culprit["images"]] == [hit["name"]]
        assert (culprit["module"], culprit["phase"], culprit["reproduced"]) == (
            "model.0 Conv",
            "forward",
            True,
        )
        result = replayed(where)
        assert result["reproduced"]
        assert (result["image"], result["culprit_module"], result["phase"]) == (
            hit["name"],
            "model.0 Conv",
            "forward",
        )


def test_a_planted_pixel_is_named_and_seen_again_in_a_fresh_process(tmp_path: Path) -> None:
    plant_and_replay(3, tmp_path)


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_a_planted_pixel_is_named_and_seen_again_twenty_times(tmp_path: Path) -> None:
    plant_and_replay(20, tmp_path)


@pytest.mark.parametrize("fault", ["nan_pixel@2", "nan_loss@2", "nan_grad@2"])
def test_the_training_goes_on_as_if_nobody_had_looked(fault: str, tmp_path: Path) -> None:
    """Weights, EMA and every generator are those of a run without incidents, bit for bit."""
    changed = {"optimizer": "AdamW", "val": True, "mosaic": 1.0}
    quiet, loud = (
        Run("detect", tmp_path / str(n), own={"fault": fault, "incidents": n}, **changed) for n in (0, 3)
    )  # fmt: skip
    assert quiet.folders == []
    assert [folder.name for folder in loud.folders] == ["step-000002"]
    expected, seen = state(quiet.trainer), state(loud.trainer)
    assert [name for name in expected if not torch.equal(expected[name], seen[name])] == []
    frames = [run.trace.steps.drop("seconds") for run in (quiet, loud)]
    assert frames[0].equals(frames[1], null_equal=True)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in loud.trainer.model.modules())


def test_an_injected_gradient_is_not_blamed_on_the_batch(tmp_path: Path) -> None:
    run = Run("detect", tmp_path, own={"fault": "nan_grad@3"})
    (folder,), (event,) = run.folders, run.events()
    hit = run.trace.blocks.filter((pl.col("step") == 3) & (pl.col("nonfinite") > 0))[
        "block"
    ].to_list()
    parameter = facts(folder)["culprit"]["parameter"]
    assert [event["block"]] == [event["culprit_module"]] == hit
    assert (event["image"], event["phase"], event["reproduced"]) == (None, "gradient", False)
    assert event["folder"] == "incidents/step-000003"
    expected = (
        f"the batch alone does not reproduce it; the gradient of {parameter} in {hit[0]} was hit"
    )
    assert event["text"] == expected
    result = replay_incident(folder)
    assert (result.reproduced, result.culprit_module, result.phase) == (False, hit[0], "gradient")
    lead = "Not reproduced, as expected: fault=nan_grad@3 damaged the gradients, not the batch"
    assert result.message == f"{lead}; {expected.partition('; ')[2]}."


@pytest.mark.smoke
def test_an_injected_loss_is_not_blamed_on_the_batch(tmp_path: Path) -> None:
    run = Run("pose", tmp_path, own={"fault": "nan_loss@2"})
    (event,) = run.events()
    assert (event["step"], event["image"], event["phase"], event["reproduced"]) == (
        2,
        None,
        "loss",
        False,
    )
    assert "the loss of iteration 2" in event["text"]
    assert not replay_incident(run.folders[0]).reproduced


@pytest.mark.smoke
def test_finite_faults_are_no_incidents(tmp_path: Path) -> None:
    run = Run("detect", tmp_path, own={"fault": "grad_spike@2"})
    assert run.folders == []
    assert run.events() == []
    norms = run.trace.blocks.pivot("step", index="block", values="grad_norm")
    assert (norms["2"] / norms["1"]).sort()[-1] > 20


@pytest.mark.parametrize("guard", ["skip", "off"])
def test_gradients_that_overflow_half_precision_are_an_incident(guard: str, tmp_path: Path) -> None:
    own = {"fault": "half_overflow@3", "guard": guard, "guard_limit": 2, "incidents": 2}
    run = Run("detect", tmp_path, own=own)
    assert [event["step"] for event in run.events()] == ([3, 4] if guard == "skip" else [3])
    assert all(event["phase"] == "gradient" and not event["reproduced"] for event in run.events())


@pytest.mark.smoke
def test_the_micro_batch_of_an_accumulated_step_is_found(tmp_path: Path) -> None:
    """Batch 4 and nbs 12: iteration 4 is the middle of three in step 1."""
    run = Run("detect", tmp_path, own={"fault": "nan_pixel@4"}, batch=4, nbs=12, warmup_epochs=0)
    (folder,) = run.folders
    found = facts(folder)
    assert folder.name == "step-000001"
    assert [entry["iteration"] for entry in found["window"]] == [3, 4, 5]
    assert found["culprit"]["micro_batch"] == 1
    assert found["culprit"]["images"] == [found["window"][1]["images"][0]["file"]]
    assert {path.name for path in folder.iterdir()} == {
        "incident.json", "weights.pt", "rng.pt", "batch-0.pt", "batch-1.pt", "batch-2.pt"
    }  # fmt: skip
    assert torch.load(folder / "batch-1.pt", weights_only=True)["img"][0].isnan().sum() == 1
    assert replay_incident(folder).reproduced
    (folder / "incident.json").write_text(
        json.dumps({**found, "model": {**found["model"], "yaml": {"nc": 3}}})
    )
    with pytest.raises(StabilityError, match="was not built: its backbone is not a list"):
        replay_incident(folder)
    (folder / "weights.pt").unlink()
    assert "It cannot be replayed because data is missing" in replay_incident(folder).message


@pytest.mark.parametrize("guard", ["skip", "off"])
def test_weights_and_buffers_are_those_from_before_the_step(guard: str, tmp_path: Path) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    watch = {"on_train_batch_start": lambda trainer: seen.append(state(trainer))}
    run = Run(
        "detect", tmp_path, own={"guard": guard, "fault": "nan_pixel@2"}, callbacks=watch, epochs=1
    )
    saved = torch.load(run.folders[0] / "weights.pt", weights_only=True)
    expected = {name: value for name, value in seen[2].items() if name.startswith("model.")}
    assert {name for name in saved if not name.startswith("extra.")} == set(expected)
    assert [name for name in expected if not torch.equal(saved[name], expected[name])] == []


def test_without_the_guard_the_first_bad_step_is_the_incident(tmp_path: Path) -> None:
    run = Run("detect", tmp_path, own={"guard": "off", "fault": "inf_pixel@2"}, epochs=1)
    assert [event["step"] for event in run.events()] == [2]
    assert run.events()[0]["culprit_module"] == "model.0 Conv"
    assert replay_incident(run.folders[0]).reproduced


@pytest.mark.parametrize(
    "own",
    [
        {"norm": "group", "act": "relu"},
        {"norm": "none", "residual": False},
        {"norm": "frozen"},
        {"depth_mult": 2.0, "init": "kaiming"},
    ],
)
def test_switches_are_in_force_in_the_replay(own: dict[str, Any], tmp_path: Path) -> None:
    """The rebuilt model gives the loss that the run's own model gave, on a batch without any fault."""
    run = Run("detect", tmp_path, own={**own, "fault": "nan_grad@1"}, epochs=1)
    (folder,) = run.folders
    from yolo_stability.guard.incidents.folder import read_incident
    from yolo_stability.guard.incidents.model import rebuild_model

    incident = read_incident(folder, torch.device("cpu"))
    assert incident.weights is not None
    model = rebuild_model(incident.facts, incident.weights, incident.extras, torch.device("cpu"))
    loss = float(model(incident.window[0].batch)[0].detach().sum())
    assert loss == incident.facts["window"][0]["loss"]


def test_a_run_keeps_no_more_incidents_than_it_may(tmp_path: Path) -> None:
    steps = "nan_grad@1,2,3,4,5"
    run = Run("detect", tmp_path, own={"fault": steps, "incidents": 2})
    assert [folder.name for folder in run.folders] == ["step-000001", "step-000002"]
    assert len(run.events()) == 2
    assert run.trace.steps.filter(pl.col("skipped") == "guard")["step"].to_list() == [1, 2, 3, 4, 5]


def test_a_folder_that_cannot_be_written_is_a_warning(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    """A file stands where the folder of incidents should be."""
    stock = IncidentKeeper.keep

    def block(keeper: IncidentKeeper, *args: Any, **kwargs: Any) -> None:
        place = tmp_path / "train" / "stability" / "incidents"
        if place.parent.is_dir() and not place.exists():
            place.write_text("in the way")
        stock(keeper, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IncidentKeeper, "keep", block)
        run = Run("detect", tmp_path, own={"fault": "nan_pixel@2"})
    assert run.error is None
    assert run.trace.steps.height == 8
    (event,) = run.events()
    assert (event["folder"], event["culprit_module"]) == (None, "model.0 Conv")
    assert "first bad module model.0 Conv (forward); its folder could not be written" in log.text


def test_an_error_in_the_search_never_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("yolo_stability.guard.incidents.capture.search", fail)
    run = Run("detect", tmp_path, own={"fault": "nan_pixel@2"})
    assert run.trace.steps.height == 8
    (event,) = run.events()
    assert event["text"] == "the search for it failed (RuntimeError: out of memory)"
    assert replay_incident(run.folders[0]).reproduced


def test_an_amp_overflow_that_calibrates_the_scale_is_no_incident(tmp_path: Path) -> None:
    model = YOLO(MODELS["detect"])
    one_thread(model)

    def overflow(trainer: Any) -> None:
        trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)

    model.add_callback("on_pretrain_routine_end", overflow)
    monitor = Monitor().attach(model)
    model.train(**overrides("detect", tmp_path))
    trace = load_trace(monitor.save_dir)
    assert "scaler" in trace.steps["skipped"].to_list()
    assert trace.events.filter(pl.col("kind") == "incident").height == 0
    assert not (monitor.save_dir / "stability" / "incidents").exists()


def test_a_window_too_large_for_memory_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "yolo_stability.guard.incidents.capture.KEPT_BYTES", 450_000
    )  # two batches of 4 x 3 x 64 x 64
    run = Run("detect", tmp_path, own={"fault": "nan_pixel@3"}, batch=4, nbs=12, warmup_epochs=0)
    found = facts(run.folders[0])
    assert found["left_out"] == ["the images of micro-batch 0: the window was too large for memory"]
    assert [len(entry["images"]) for entry in found["window"]] == [4, 4, 4]
    assert "1 of 3 micro-batches were too large to keep" in found["culprit"]["message"]
