"""Modules of one's own that are broken in training, backward, half precision or evaluation.

The module is named, no image is excluded, and what is advised helps.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn
from training import MODELS, one_thread, overrides, state
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn import tasks

import yolo_stability as ys
from yolo_stability import RunResult
from yolo_stability.core.findings import Finding
from yolo_stability.diagnosis.acting_advice import DROP_OWN_STEP
from yolo_stability.diagnosis.targets import examine_target

pytestmark = pytest.mark.trains

PLACE = 4
BLOCK = f"model.{PLACE} Own"
HEALTHY = 2
"""Batches before a module breaks."""


class Own(nn.Module):
    """A block of one's own; `fault` names what is wrong with it, if it is not repaired.

    After a few batches it fails where one image excites it far more than the others do: each time
    another image, and never a batch of gray ones.
    """

    fault, epsilon = "", 0.0

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels, 1, 1))
        self.register_buffer("scale", torch.zeros(1))
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        if self.fault == "evaluation":
            return x if self.training else x / (self.scale + self.epsilon)
        if not self.training:
            return x
        self.calls += 1
        level = x.detach().abs().mean((1, 2, 3), keepdim=True)
        above = (level - level.mean()) > 1.7 * level.std(correction=0) + 1e-4
        if self.calls <= HEALTHY or not bool(above.any()):
            return self.gain * x
        return self.gain * torch.where(above, self.broken(x), x)

    def broken(self, x: Tensor) -> Tensor:
        nothing = x - x.detach()  # 0, with a derivative
        if self.fault == "forward":
            return x / (nothing.square().sum((1, 2, 3), keepdim=True) + self.epsilon)
        if self.fault == "backward":
            return x + (nothing.square().sum((1, 2, 3), keepdim=True) + self.epsilon).sqrt()
        if self.fault == "half":
            large = x.half() if not self.epsilon else x
            return (large * 60000).float() / 60000
        return x


@pytest.fixture
def own_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that builds the tiny model with a module that is broken, or repaired."""
    monkeypatch.setattr(tasks, "Own", Own, raising=False)

    def built(fault: str, epsilon: float = 0.0) -> Any:
        monkeypatch.setattr(Own, "fault", fault)
        monkeypatch.setattr(Own, "epsilon", epsilon)
        net = yaml.safe_load(Path(MODELS["detect"]).read_text())
        net["backbone"].append([-1, 1, "Own", [32]])
        assert len(net["backbone"]) == PLACE + 1
        net["head"][-1][0] = [7, PLACE]
        path = tmp_path / "own.yaml"
        path.write_text(yaml.safe_dump(net))
        return YOLO(path)

    return built


def train(model: Any, folder: Path, *, own: Any = None, **changed: Any) -> RunResult:
    """Train a model on 32 images, 4 steps an epoch, on one thread."""
    if not isinstance(model, str):
        one_thread(model)
    return ys.train(
        model=model, **overrides("detect", folder, **{"epochs": 4, **changed}), **own or {}
    )


def events(result: RunResult, kind: str) -> list[dict[str, Any]]:
    """The data of the events of a kind, with their block."""
    rows = result.trace.events.select("kind", "block", "data").rows()
    return [{**json.loads(data), "block": block} for k, block, data in rows if k == kind]


def bad(result: RunResult) -> Finding:
    """The finding about numbers that are not finite."""
    return next(f for f in result.diagnosis.findings if f.rule == "non_finite")


@pytest.mark.parametrize("rescue", ["off", "auto"])
@pytest.mark.parametrize("fault", ["forward", "backward", "half"])
def test_a_broken_module_is_named_and_no_image_excluded(
    fault: str, rescue: str, own_model: Callable[..., Any], tmp_path: Path
) -> None:
    result = train(own_model(fault), tmp_path, own={"rescue": rescue})
    incidents = events(result, "incident")
    assert any(data["images"] for data in incidents), "images that could be blamed"
    assert all(data["ranges"]["custom"] for data in incidents)
    assert (result.diagnosis.cause, bad(result).block) == ("module", BLOCK)
    assert f"correct the code of {BLOCK}" in bad(result).remedy
    assert bad(result).images
    assert not any(data.get("images") for data in events(result, "rescue"))
    if rescue == "auto":
        assert all(data["cause"] == "module" for data in events(result, "rescue_stop"))


@pytest.mark.parametrize("fault", ["forward", "backward", "half"])
def test_a_corrected_module_trains(
    fault: str, own_model: Callable[..., Any], tmp_path: Path
) -> None:
    """What the advice says: a small epsilon, or float32."""
    result = train(own_model(fault, epsilon=1.0), tmp_path)
    assert result.trace.steps["loss"].is_finite().all()
    assert events(result, "incident") == []


def test_without_a_guard_one_incident_is_enough(
    own_model: Callable[..., Any], tmp_path: Path
) -> None:
    result = train(own_model("forward"), tmp_path, own={"guard": "off"}, epochs=1)
    assert len(events(result, "incident")) == 1
    assert (result.diagnosis.cause, bad(result).block) == ("module", BLOCK)


def test_an_incident_of_the_users_own_layers_is_shown_as_recorded(
    own_model: Callable[..., Any], tmp_path: Path
) -> None:
    result = train(own_model("forward"), tmp_path, epochs=2)
    folder = sorted((result.save_dir / "stability" / "incidents").iterdir())[0]
    shown = examine_target(folder)
    (finding,) = shown.diagnosis.findings
    assert (finding.block, shown.reproduced) == (BLOCK, None)
    assert "layers of your own" in shown.diagnosis.why
    assert f"correct the code of {BLOCK}" in finding.remedy
    (folder / "incident.json").write_text("{")
    with pytest.raises(ys.StabilityError):
        examine_target(folder)


def test_a_module_that_fails_in_evaluation_is_named_and_training_is_not_disturbed(
    own_model: Callable[..., Any], tmp_path: Path
) -> None:
    """Weights, EMA and records are those of a run in which nobody looked, bit for bit."""
    results, states = [], []
    for incidents in (0, 3):
        model = own_model("evaluation")
        result = train(
            model,
            tmp_path / str(incidents),
            own={"incidents": incidents},
            **{"epochs": 3, "val": True, "mosaic": 1.0, "optimizer": "AdamW"},
        )
        results.append(result)
        states.append(state(model.trainer))
    quiet, loud = results
    assert events(quiet, "evaluation") == []
    (found,) = events(loud, "evaluation")
    assert (found["block"], found["epoch"], found["only_in_half"]) == (BLOCK, 0, False)
    assert "val/box_loss" in found["columns"]
    assert [name for name in states[0] if not torch.equal(states[0][name], states[1][name])] == []
    frames = [result.trace.steps.drop("seconds") for result in results]
    assert frames[0].equals(frames[1], null_equal=True)


def test_a_corrected_evaluation_is_finite(own_model: Callable[..., Any], tmp_path: Path) -> None:
    result = train(own_model("evaluation", epsilon=1.0), tmp_path, epochs=2, val=True)
    assert events(result, "evaluation") == []


@pytest.mark.parametrize("clip", ["none", "norm:10"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_huge_learning_rate_is_no_fault_of_a_module(clip: str, seed: int, tmp_path: Path) -> None:
    own = {"lr_mult": 1000.0, "clip": clip}
    result = train(MODELS["detect"], tmp_path, own=own, epochs=6, seed=seed)
    assert result.diagnosis.cause == "learning_rate"
    assert "module" not in {cause.name for cause in result.diagnosis.causes}


class PoisonedTrainer(DetectionTrainer):
    """A NaN pixel in the sixth batch."""

    batches = 0

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        batch = super().preprocess_batch(batch)
        self.batches += 1
        if self.batches == 6:
            batch["img"][0, :, 3, 3] = float("nan")
        return batch


class OwnStepTrainer(PoisonedTrainer):
    """The documented way to clip at another norm."""

    def optimizer_step(self) -> None:
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), max_norm=0.5)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        if self.ema:
            self.ema.update(self.model)


def test_a_trainer_that_drops_its_own_step_as_advised_is_guarded(tmp_path: Path) -> None:
    own = train(MODELS["detect"], tmp_path / "own", trainer=OwnStepTrainer)
    assert own.diagnosis.verdict in {"failed", "unstable"}  # Ultralytics rolls back
    assert own.diagnosis.cause == "data"
    assert (bad(own).block, bad(own).first_step) == ("model.0 Conv", 5)
    assert DROP_OWN_STEP in bad(own).remedy
    assert not any(f.remedy.startswith("guard=skip") for f in own.diagnosis.findings)
    clipped = {"clip": "norm:0.5"}
    dropped = train(MODELS["detect"], tmp_path / "clip", trainer=PoisonedTrainer, own=clipped)
    assert dropped.trace.steps["skipped"].to_list().count("guard") == 1
    assert dropped.diagnosis.verdict != "failed"


def test_a_guard_that_was_off_skips_as_advised(tmp_path: Path) -> None:
    fault = {"fault": "nan_pixel@3"}
    off = train(MODELS["detect"], tmp_path / "off", own={**fault, "guard": "off"}, epochs=1)
    assert "guard=skip" in bad(off).remedy
    skip = train(MODELS["detect"], tmp_path / "skip", own={**fault, "guard": "skip"})
    assert skip.diagnosis.verdict != "failed"
    assert skip.diagnosis.cause == "data"
    assert "guard=" not in bad(skip).remedy
