"""Validation losses that are not finite are explained once, on a copy."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from yolo_stability.guard.incidents.evaluation import EvaluationCheck

NAN = {"val/box_loss": torch.nan, "val/cls_loss": 1.0, "metrics/mAP50(B)": 0.0}


class Scale(nn.Module):
    """Divides by a statistic that training never updates."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.register_buffer("scale", torch.full((1,), value))

    def forward(self, x: Tensor) -> Tensor:
        return x if self.training else x / self.scale + 0 * torch.rand(1)


class Model(nn.Module):
    """Two convolutions with a scale between them; the loss may fail by itself."""

    def __init__(self, scale: float, loss: float = 1.0) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Conv2d(3, 2, 1), Scale(scale), nn.Conv2d(2, 2, 1))
        self._loss = loss

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)

    def loss(self, batch: dict[str, Any], predictions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return predictions.abs().mean() * self._loss, {}


class Run:
    """A training after a validation."""

    device, epoch = torch.device("cpu"), 2

    def __init__(self, model: nn.Module, half: bool = False) -> None:
        self.validated_model = model.train()
        self.validation_precision = torch.float16 if half else None
        self.batches = 0

    def validation_batches(self) -> Iterator[dict[str, Any]]:
        for _ in range(3):
            self.batches += 1
            yield {"img": torch.rand(2, 3, 8, 8) + 0.5}


class Check:
    """A check and what it reported."""

    def __init__(self, *, enabled: bool = True) -> None:
        self.events: list[tuple[str, str | None, dict[str, Any]]] = []
        emit = lambda kind, block, data: self.events.append((kind, block, data))  # noqa: E731
        self.check = EvaluationCheck(emit, enabled=enabled)

    def of(self, model: nn.Module, metrics: Any = NAN, *, half: bool = False) -> dict[str, Any]:
        """The only event, with its block."""
        self.check.after_validation(Run(model, half), metrics)
        ((kind, block, data),) = self.events
        assert kind == "evaluation"
        return {**data, "block": block}


def test_the_module_that_fails_in_evaluation_mode_is_named(log: pytest.LogCaptureFixture) -> None:
    found = Check().of(Model(0.0))
    assert found["layer"] == "model.1 Scale"
    assert (found["reproduced"], found["only_in_half"], found["custom"]) == (True, False, True)
    assert (found["epoch"], found["columns"]) == (2, ["val/box_loss"])
    assert "val/box_loss is not finite in epoch 3" in log.text
    assert found["text"] in log.text


def test_a_module_that_fails_in_half_precision_only_is_named_as_such() -> None:
    found = Check().of(Model(1e-6), half=True)
    assert found["only_in_half"]
    assert "half precision" in found["text"]
    assert not Check().of(Model(0.0), half=True)["only_in_half"]


def test_weights_that_are_not_finite_are_no_fault_of_a_module() -> None:
    model = Model(1.0)
    with torch.no_grad():
        model.model[2].weight[0] = torch.nan
    found = Check().of(model)
    assert (found["reproduced"], found["weights_finite"]) == (True, False)
    assert "weights or statistics" in found["text"]


def test_a_loss_that_fails_by_itself_is_named() -> None:
    found = Check().of(Model(1.0, loss=torch.nan))
    assert (found["phase"], found["custom"]) == ("loss", True)


def test_what_does_not_fail_again_is_reported_as_such() -> None:
    found = Check().of(Model(1.0))
    assert (found["reproduced"], found["block"]) == (False, None)
    assert "6 validation images" in found["text"]


def test_finite_losses_and_bad_metrics_are_not_examined() -> None:
    check = Check()
    run = Run(Model(0.0))
    check.check.after_validation(run, {"val/box_loss": 1.0, "metrics/mAP50(B)": torch.nan})
    assert check.events == []
    assert run.batches == 0


def test_a_run_is_examined_once_and_not_without_incidents() -> None:
    check = Check()
    for _ in range(3):
        check.check.after_validation(Run(Model(0.0)), NAN)
    assert len(check.events) == 1
    off = Check(enabled=False)
    off.check.after_validation(Run(Model(0.0)), NAN)
    assert off.events == []


def test_the_validated_model_and_the_generators_stay_as_they_are() -> None:
    model = Model(0.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    generators = random.getstate(), torch.get_rng_state()
    Check().of(model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert random.getstate() == generators[0]
    assert torch.equal(torch.get_rng_state(), generators[1])


def test_a_failing_search_costs_the_explanation_only() -> None:
    class Broken(Run):
        def validation_batches(self) -> Iterator[dict[str, Any]]:
            raise RuntimeError("no dataset")

    check = Check()
    check.check.after_validation(Broken(Model(0.0)), NAN)
    ((_, block, data),) = check.events
    assert (block, data["reproduced"]) == (None, False)
    assert "RuntimeError: no dataset" in data["text"]
