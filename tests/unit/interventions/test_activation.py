"""Exchanged activations: everywhere a block has one, and nowhere else."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from ultralytics.nn.modules.conv import ChannelAttention, Conv
from ultralytics.nn.tasks import DetectionModel, PoseModel, RTDETRDetectionModel

from yolo_stability.core.errors import ConfigError
from yolo_stability.interventions.activation import ACTIVATIONS, apply_activation, check_activation

REFERENCE = {
    "silu": lambda x: x * torch.sigmoid(x),
    "relu": lambda x: x.clamp(min=0),
    "leaky_relu": lambda x: torch.where(x > 0, x, 0.1 * x),
    "gelu": lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)),
    "tanh": torch.tanh,
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
}


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_a_block_computes_with_the_new_function(name: str) -> None:
    block = Conv(3, 4)
    images = torch.randn(2, 3, 5, 5)
    changed, stay = apply_activation(nn.Sequential(block), name)
    assert (changed, stay) == (1, 0)
    torch.testing.assert_close(block(images), REFERENCE[name](block.bn(block.conv(images))))


@pytest.mark.parametrize("model", ["yolov8n.yaml", "yolo11n.yaml", "yolo26n.yaml"])
def test_no_silu_is_left_in_a_detector(model: str) -> None:
    net = DetectionModel(model, verbose=False)
    silus = sum(isinstance(getattr(m, "act", None), nn.SiLU) for m in net.modules())
    assert apply_activation(net, "tanh") == (silus, 0)
    assert silus > 50
    assert not any(isinstance(m, nn.SiLU) for m in net.modules())


def test_convolutions_without_activation_stay_without() -> None:
    net = DetectionModel("yolo26n.yaml", verbose=False)
    before = [
        n for n, m in net.named_modules() if isinstance(m, Conv) and isinstance(m.act, nn.Identity)
    ]
    apply_activation(net, "relu")
    assert [
        n for n, m in net.named_modules() if isinstance(m, Conv) and isinstance(m.act, nn.Identity)
    ] == before
    assert before


def test_what_stays_is_counted() -> None:
    """The flow model of YOLO26's pose head holds activations that are nobody's `act`."""
    net = PoseModel("yolo26n-pose.yaml", verbose=False)
    _, stay = apply_activation(net, "relu")
    assert stay == sum(isinstance(m, nn.SiLU) for m in net.modules())
    assert stay > 0


def test_gates_stay() -> None:
    gate = ChannelAttention(4)
    assert apply_activation(nn.Sequential(gate), "relu") == (0, 0)
    assert isinstance(gate.act, nn.Sigmoid)


def test_rtdetr_mixes_several_functions_and_all_are_exchanged() -> None:
    net = RTDETRDetectionModel("rtdetr-l.yaml", verbose=False)
    changed, _ = apply_activation(net, "silu")
    assert changed > 50
    assert not any(isinstance(getattr(m, "act", None), nn.ReLU | nn.GELU) for m in net.modules())


def test_a_wrong_name_names_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"Invalid value act=rellu: unknown activation. Did you mean 'relu'"
    ):
        check_activation("rellu")
