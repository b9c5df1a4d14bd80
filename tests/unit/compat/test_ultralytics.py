"""The quirks of versions: loss items, parameter groups, momentum, scale."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

from yolo_stability.compat.ultralytics import group_names, loss_items, map_loss, scale_tensor


def test_loss_items_as_dict_and_as_tensor() -> None:
    """A dict since 8.4.120, a tensor in the order of `loss_names` before."""
    loss = torch.tensor(3.0)
    items = {
        "box_loss": torch.tensor(1.0),
        "cls_loss": torch.tensor([2.0]),
        "gain": 3.0,
    }  # as distillation has them
    as_dict = SimpleNamespace(loss_items=items, loss=loss)
    as_tensor = SimpleNamespace(
        loss_items=torch.tensor([1.0, 2.0]), loss_names=("box_loss", "cls_loss")
    )
    unnamed = SimpleNamespace(loss_items=torch.tensor([1.0, 2.0]), loss_names=("box_loss",))
    expected = {"box_loss": 1.0, "cls_loss": 2.0}
    assert {k: float(v) for k, v in loss_items(as_dict).items()} == {**expected, "gain": 3.0}
    assert {v.shape for v in loss_items(as_dict).values()} == {()}
    assert {k: float(v) for k, v in loss_items(as_tensor).items()} == expected
    assert list(loss_items(unnamed)) == ["box_loss", "item_1"]
    assert loss_items(SimpleNamespace()) == {}


def test_map_loss_over_either_form() -> None:
    assert map_loss(None, torch.neg) is None
    assert map_loss(torch.tensor(2.0), torch.neg) == -2
    assert map_loss({"a": torch.tensor(2.0)}, torch.add, {"a": torch.tensor(3.0)})["a"] == 5


def test_groups_have_unique_names() -> None:
    """MuSGD splits every group in two of the same name."""
    names = ["bias", "bias", "weight", "muon", "muon"]
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "param_group": name} for name in names]
    assert group_names(torch.optim.SGD(groups, lr=0.1)) == [
        "bias",
        "bias_2",
        "weight",
        "muon",
        "muon_2",
    ]
    plain = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    assert group_names(plain) == ["pg0"]


def test_scale_is_empty_without_amp() -> None:
    assert (
        len(scale_tensor(SimpleNamespace(scaler=torch.amp.GradScaler("cpu", enabled=False)))) == 0
    )
    scaler = torch.amp.GradScaler("cpu", init_scale=32.0)
    assert scale_tensor(SimpleNamespace(scaler=scaler)).tolist() == [32.0]
    scaler.scale(torch.tensor(1.0))  # creates the tensor
    assert scale_tensor(SimpleNamespace(scaler=scaler)).tolist() == [32.0]
