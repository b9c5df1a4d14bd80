"""Audit of checkpoints of real runs: the stock failure is flagged, four healthy families pass."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from training import MODELS, one_thread, overrides, zero_tensors
from ultralytics import RTDETR, YOLO
from ultralytics.utils.torch_utils import unwrap_model

from yolo_stability import StabilityMonitor
from yolo_stability.checkpoint.audit import AuditResult, audit_checkpoint
from yolo_stability.checkpoint.reader import open_checkpoint

pytestmark = pytest.mark.trains

# Family, model, task, optimizer: each is audited untrained, with the optimizer in mid-run, and at
# the end.
HEALTHY = [
    ("yolov8", "yolov8n.yaml", "detect", "SGD"),
    ("yolov8", "yolov8n-pose.yaml", "pose", "AdamW"),
    ("yolo11", "yolo11n.yaml", "detect", "MuSGD"),
    ("yolo11", "yolo11n-pose.yaml", "pose", "SGD"),
    ("yolo26", "yolo26n.yaml", "detect", "AdamW"),
    ("yolo26", "yolo26n-pose.yaml", "pose", "MuSGD"),
    ("yolov10", "yolov10n.yaml", "detect", "SGD"),
]


def rules(result: AuditResult) -> list[str]:
    """Return the names of the rules that found something."""
    return [finding.rule for finding in result.findings]


@pytest.mark.parametrize(("step", "epochs"), [(3, 2), pytest.param(7, 3, marks=pytest.mark.full)])
def test_both_zeroed_checkpoints_of_the_stock_failure_are_flagged(
    step: int, epochs: int, tmp_path: Path
) -> None:
    """One NaN in a gradient of a stock run, at step 7, when good checkpoints exist already."""
    steps = 0

    def poison(trainer: Any) -> None:
        nonlocal steps
        model, plain = unwrap_model(trainer.model), trainer.optimizer_step

        def poisoned() -> None:
            nonlocal steps
            if steps == step:
                next(p for p in model.parameters() if p.grad is not None).grad.view(-1)[0] = (
                    math.nan
                )
            steps += 1
            plain()

        trainer.optimizer_step = poisoned

    model = YOLO("yolo26n.yaml")
    one_thread(model)
    model.add_callback("on_train_start", poison)
    with pytest.raises(RuntimeError, match="NaN persisted"):
        model.train(**overrides("detect", tmp_path, epochs=epochs))

    for name in ("last.pt", "best.pt"):
        path = next(tmp_path.rglob(name))
        with open_checkpoint(path) as opened:
            matrices = {
                t.name for t in opened.tensors if t.part == "ema" and len(t.tensor.shape) > 1
            }
        assert matrices <= zero_tensors(path)  # torch agrees that they are zero
        result = audit_checkpoint(path)
        assert result.verdict == "failed"
        assert rules(result)[0] == "zeroed_network"
        assert result.findings[0].observed == 1.0


def test_the_healthy_checkpoint_of_the_same_failure_passes(tmp_path: Path) -> None:
    model = YOLO("yolo26n.yaml")
    one_thread(model)
    StabilityMonitor(fault="nan_grad@3").attach(model)
    model.train(**overrides("detect", tmp_path))
    for name in ("healthy.pt", "last.pt"):
        result = audit_checkpoint(next(tmp_path.rglob(name)))
        assert (result.verdict, rules(result)) == ("stable", [])


@pytest.mark.parametrize("broken", [False, True])
def test_a_checkpoint_that_fails_in_evaluation_never_counts_as_healthy(
    broken: bool, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    """A negative variance is finite, and training uses that of each batch."""

    def corrupt(trainer: Any) -> None:
        if broken:
            trainer.ema.ema.model[0].bn.running_var.fill_(-1.0)

    model = YOLO(MODELS["detect"])
    one_thread(model)
    model.add_callback("on_train_epoch_end", corrupt)
    StabilityMonitor().attach(model)
    model.train(**overrides("detect", tmp_path))
    assert len(list(tmp_path.rglob("last.pt"))) == 1
    assert len(list(tmp_path.rglob("healthy.pt"))) == (0 if broken else 1)
    text = "computes NaN or Inf in evaluation mode, so it does not become healthy.pt."
    assert any(text in record.message for record in log.records) == broken


@pytest.mark.full
@pytest.mark.parametrize(("family", "config", "task", "optimizer"), HEALTHY)
def test_healthy_checkpoints_are_not_flagged(
    family: str, config: str, task: str, optimizer: str, tmp_path: Path
) -> None:
    """21 checkpoints of 7 models: untrained, with optimizer state after epoch 1, and stripped."""
    assert config.startswith(family)
    untrained = tmp_path / "untrained.pt"
    model = YOLO(config)
    model.save(untrained)
    one_thread(model)
    model.train(**overrides(task, tmp_path, optimizer=optimizer, lr0=0.002, save_period=1))
    middle, end = next(tmp_path.rglob("epoch0.pt")), next(tmp_path.rglob("last.pt"))
    for path in (untrained, middle, end):
        result = audit_checkpoint(path)
        assert (result.verdict, rules(result)) == ("stable", []), path.name
        expected = torch.load(path, weights_only=False)
        network = expected.get("ema") or expected["model"]
        state = (expected.get("optimizer") or {"state": {}})["state"]
        slots = sum(
            isinstance(value, torch.Tensor) for each in state.values() for value in each.values()
        )
        assert bool(slots) == (path == middle)
        assert result.facts["tensors"] == len(network.state_dict()) + slots


def test_a_transformer_whose_layers_begin_at_zero_is_not_flagged(tmp_path: Path) -> None:
    path = tmp_path / "untrained.pt"
    RTDETR("rtdetr-resnet50.yaml").save(path)
    assert any("sampling_offsets.weight" in name for name in zero_tensors(path))
    result = audit_checkpoint(path)
    assert (result.verdict, rules(result)) == ("stable", [])


def test_a_run_that_blew_up_is_flagged(tmp_path: Path) -> None:
    """A thousandfold learning rate under the stock clip: every number stays finite."""
    model = YOLO("yolov8n.yaml")
    one_thread(model)
    StabilityMonitor(guard="off", lr_mult=1000).attach(model)
    model.train(**overrides("detect", tmp_path, epochs=3, lr0=0.01, warmup_epochs=0))
    result = audit_checkpoint(next(tmp_path.rglob("last.pt")))
    assert result.verdict == "failed"
    assert "exploded_weights" in rules(result)
