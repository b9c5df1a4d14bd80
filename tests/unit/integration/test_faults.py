"""Faults as people type them."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from yolo_stability.errors import ConfigError
from yolo_stability.integration.faults import FAULT_KINDS, Fault, parse_fault


@pytest.mark.parametrize("kind", FAULT_KINDS)
def test_each_kind_is_read(kind: str) -> None:
    assert parse_fault(f"{kind}@3") == Fault(kind, frozenset({3}))
    assert parse_fault(f"{kind}@3,7") == Fault(kind, frozenset({3, 7}))


def test_no_fault() -> None:
    assert parse_fault(None) is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("nan_grd@3", "Did you mean 'nan_grad'"),
        ("nan_grad", "say when"),
        ("nan_grad@", "say when"),
        ("nan_grad@x", "say when"),
        ("nan_grad@-1", "say when"),
        ("", "no fault"),
    ],
)
def test_mistakes_get_one_sentence(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse_fault(text)


def test_nan_grad_spoils_one_element_at_its_step_only() -> None:
    model = nn.Linear(3, 2)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    fault = Fault("nan_grad", frozenset({3}))
    fault.on_gradients(SimpleNamespace(model=model), 2)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    fault.on_gradients(SimpleNamespace(model=model), 3)
    assert sum(int(torch.isnan(p.grad).sum()) for p in model.parameters()) == 1


def test_inf_pixel_spoils_one_pixel() -> None:
    batch = {"img": torch.zeros(2, 3, 4, 4)}
    Fault("inf_pixel", frozenset({1})).on_batch(batch, 0)
    assert torch.isfinite(batch["img"]).all()
    Fault("inf_pixel", frozenset({1})).on_batch(batch, 1)
    assert int(torch.isinf(batch["img"]).sum()) == 1


def test_nan_loss_strikes_once_and_leaves_no_hook() -> None:
    class Loss(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            return x.sum(), {"box_loss": x.sum().detach()}

    model = Loss()
    Fault("nan_loss", frozenset({0})).before_forward(SimpleNamespace(model=model), 0)
    loss, items = model(torch.ones(2, requires_grad=True))
    assert math.isnan(loss.detach())
    assert math.isnan(items["box_loss"])
    assert not model._forward_hooks
    assert torch.isfinite(model(torch.ones(2))[0])
