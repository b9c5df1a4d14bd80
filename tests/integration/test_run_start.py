"""The start of a run: its steps are counted, its rate is the one in force, damage is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from training import MODELS, overrides
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionTrainer

from yolo_stability import RunResult, train

pytestmark = pytest.mark.trains
OPENING = ("watching", "optimizer step", " lr=")


class TwiceTheRate(DetectionTrainer):
    """Builds an optimizer from lr0 itself."""

    def build_optimizer(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        """Return SGD at twice lr0."""
        return torch.optim.SGD(model.parameters(), lr=2 * self.args.lr0, momentum=0.5)


class AsStock(DetectionTrainer):
    """Leaves the choice to Ultralytics."""

    def build_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """Return what stock returns."""
        return super().build_optimizer(*args, **kwargs)


class OwnStep(DetectionTrainer):
    """Takes its steps itself, without a clip."""

    def optimizer_step(self) -> None:
        """Step."""
        self.optimizer.step()
        self.optimizer.zero_grad()


def run(folder: Path, model: str = MODELS["detect"], **changed: Any) -> RunResult:
    """Train on 32 small images."""
    return train(model=model, **overrides("detect", folder, **changed))


def head(log: pytest.LogCaptureFixture) -> list[str]:
    """Return the messages of this package before the first epoch."""
    messages = [record.message for record in log.records]
    first = next(i for i, text in enumerate(messages) if "GPU_mem" in text)
    return [text for text in messages[:first] if "stability: " in text]


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"batch": 32, "nbs": 64, "epochs": 7}, "7 epochs of 1 batch, 2 a step (batch=32 nbs=64)"),
        ({"nbs": 20, "warmup_epochs": 0}, "2 epochs of 4 batches, 2 a step (batch=8 nbs=20)"),
        (
            {"fraction": [30, 4], "batch": 4, "nbs": 24, "epochs": 3, "warmup_epochs": 1.6},
            "3 epochs of 8 batches, 6 a step (batch=4 nbs=24)",
        ),
        ({"batch": 16, "nbs": 4}, "2 epochs of 2 batches, 1 a step (batch=16 nbs=4)"),
    ],
)
def test_the_steps_are_those_that_the_run_takes(
    changed: dict[str, Any], line: str, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    result = run(tmp_path, **changed)
    steps = result.trace.steps.height
    found = head(log)
    assert f"stability: {steps} optimizer steps: {line}" in found
    assert len(found) == len(OPENING)
    assert all(word in text for word, text in zip(OPENING, found, strict=True))
    assert all(len(text) <= 80 for text in found)
    assert result.trace.header.effective["steps_planned"] == steps


def test_frozen_layers_and_the_rate_in_force_are_reported(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    result = run(tmp_path, freeze=2, epochs=1, lr_mult=0.5, clip="norm:1", warmup_epochs=0)
    watching, _, rate = (text for text in head(log) if any(word in text for word in OPENING))
    effective = result.trace.header.effective
    model = YOLO(MODELS["detect"]).model
    frozen = sum(p.numel() for p in model.model[:2].parameters())
    assert effective["weights_trained"] == effective["parameters"] - frozen > 0
    assert f"trains {effective['weights_trained']:,} of {effective['parameters']:,}" in watching
    assert rate == "stability: SGD lr=0.005, no warm-up, clip=norm:1"


def test_a_clip_that_is_not_in_force_is_not_reported(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    run(tmp_path, trainer=OwnStep, epochs=1)
    assert "clip as in the trainer's optimizer_step" in head(log)[2]


@pytest.mark.parametrize(
    ("trainer", "ignored"), [(TwiceTheRate, False), (AsStock, True), (None, True)]
)
def test_only_a_rate_that_is_ignored_is_called_so(
    trainer: type | None, ignored: bool, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    own = {"trainer": trainer} if trainer else {}
    result = run(tmp_path, optimizer="auto", lr0=0.013, epochs=1, **own)
    assert any("ignores lr0=0.013" in text for text in head(log)) == ignored
    assert result.diagnosis is not None
    rules = {finding.rule for finding in result.diagnosis.findings}
    assert ("ignored_settings" in rules) == ignored
    rates = {group["lr"] for group in result.trace.header.effective["groups"].values()}
    assert (rates == {0.026}) == (not ignored)


@pytest.mark.parametrize("damaged", [False, True])
def test_a_loaded_checkpoint_that_is_damaged_is_named(
    damaged: bool, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    """No number in it is NaN: what stock saves never is."""
    model = YOLO(MODELS["detect"])
    state = model.model.state_dict()
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            tensor.fill_(700)
    if damaged:
        state["model.2.cv1.conv.weight"].zero_()
    start = tmp_path / "start.pt"
    model.save(start)
    run(tmp_path, str(start), epochs=1)
    named = [text for text in head(log) if "start.pt" in text]
    assert len(named) == damaged
    for text in named:
        assert f"stability: {start} is damaged: Only zeros in 1 of" in text
        assert f"'yolo-stability diagnose {start}'" in text
