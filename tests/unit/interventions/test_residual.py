"""Skip connections that are off, and those that cannot be."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from ultralytics.nn.modules.block import PSABlock
from ultralytics.nn.tasks import DetectionModel, RTDETRDetectionModel

from yolo_stability.interventions.residual import remove_residuals


@pytest.mark.parametrize("model", ["yolov8n.yaml", "yolo11n.yaml", "yolo26n.yaml"])
def test_every_switch_is_off(model: str) -> None:
    net = DetectionModel(model, verbose=False)
    on = sum(getattr(m, "add", None) is True for m in net.modules())
    assert remove_residuals(net) == (on, 0)
    assert on > 0
    assert not any(getattr(m, "add", False) for m in net.modules())
    assert remove_residuals(net) == (0, 0)


def test_a_block_returns_its_branch_alone() -> None:
    torch.manual_seed(0)
    block = PSABlock(64, num_heads=1).eval()
    images = torch.randn(1, 64, 4, 4)
    remove_residuals(nn.Sequential(block))
    with torch.no_grad():
        torch.testing.assert_close(block(images), block.ffn(block.attn(images)))


def test_additions_written_into_a_block_are_counted() -> None:
    net = RTDETRDetectionModel("rtdetr-resnet50.yaml", verbose=False)
    kinds = ("AIFI", "DeformableTransformerDecoderLayer", "ResNetBlock")
    written = sum(type(m).__name__ in kinds for m in net.modules())
    switched, stay = remove_residuals(net)
    assert stay == written > 16
    assert switched == 0
