"""Every trainable parameter in exactly one block, with roles a person recognises."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from ultralytics import RTDETR, YOLO
from ultralytics.nn.distill_model import DistillationModel

from yolo_stability.gradients.blocks import model_blocks

HEADS = {
    "yolov8n.yaml": ("box", "cls"),
    "yolov8n-pose.yaml": ("box", "cls", "keypoints"),
    "yolo11n.yaml": ("box", "cls"),
    "yolo11n-pose.yaml": ("box", "cls", "keypoints"),
    "yolo26n.yaml": ("box", "cls", "one2one_box", "one2one_cls"),
    "yolo26n-pose.yaml": (
        *("box", "cls", "keypoints", "flow", "keypoints", "sigma"),
        *("one2one_box", "one2one_cls", "one2one_keypoints", "one2one_keypoints", "one2one_sigma"),
    ),
    "yolo11n-seg.yaml": ("box", "cls", "proto", "mask"),
    "yolo26n-obb.yaml": ("box", "cls", "angle", "one2one_box", "one2one_cls", "one2one_angle"),
    "yolo26n-cls.yaml": ("cls", "cls"),
}


@pytest.mark.parametrize("name", [*HEADS, "yolov10n.yaml"])
def test_every_trainable_parameter_is_in_exactly_one_block(name: str) -> None:
    model = YOLO(name).model
    blocks = model_blocks(model)
    members = [param for block in blocks for param in block.param_names]
    # Ultralytics itself never trains the DFL projection.
    trainable = {n: p for n, p in model.named_parameters() if ".dfl" not in n}
    assert len(members) == len(set(members))
    assert set(members) == set(trainable)
    assert sum(block.numel for block in blocks) == sum(p.numel() for p in trainable.values())
    assert len({block.name for block in blocks}) == len(blocks)


@pytest.mark.parametrize("name", HEADS)
def test_roles_follow_the_yaml_of_the_model(name: str) -> None:
    model = YOLO(name).model
    blocks = model_blocks(model)
    backbone = len(model.yaml["backbone"])
    last = len(model.model) - 1
    for block in blocks:
        if block.index < last:
            assert block.role == ("backbone" if block.index < backbone else "neck")
            assert block.name == f"model.{block.index} {type(model.model[block.index]).__name__}"
    assert tuple(block.role for block in blocks if block.index == last) == HEADS[name]


def test_names_are_those_a_person_recognises() -> None:
    names = {block.name for block in model_blocks(YOLO("yolo26n.yaml").model)}
    assert {"model.6 C3k2", "model.23.cv3 Detect cls", "model.23.one2one_cv2 Detect box"} <= names


def test_rtdetr_decoder_is_split() -> None:
    model = RTDETR("rtdetr-l.yaml").model
    blocks = model_blocks(model)
    members = [param for block in blocks for param in block.param_names]
    assert sorted(members) == sorted(n for n, _ in model.named_parameters())
    assert {"decoder", "encoder", "projection", "cls", "box"} <= {block.role for block in blocks}


def test_a_distillation_teacher_is_excluded() -> None:
    class Pair(DistillationModel):
        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.student_model = YOLO("yolo26n.yaml").model
            self.teacher_model = YOLO("yolo11n.yaml").model
            self.projector = nn.Linear(2, 2)

    blocks = model_blocks(Pair())
    members = [param for block in blocks for param in block.param_names]
    assert not any(name.startswith("teacher_model.") for name in members)
    assert "student_model.model.0.conv.weight" in members
    assert "projector.weight" in members
    assert len(members) == len(set(members))


def test_any_module_is_split_by_its_children() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))
            self.body = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
            self.head = nn.Linear(3, 1)
            self.head.weight = nn.Parameter(torch.ones(1, 3))

    blocks = model_blocks(Net())
    assert [(block.name, block.numel) for block in blocks] == [
        ("(root) Net", 3),
        ("body Sequential", 24),
        ("head Linear", 4),
    ]


def test_a_shared_parameter_counts_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)
            self.b.weight = self.a.weight

    assert sum(block.numel for block in model_blocks(Tied())) == 8
