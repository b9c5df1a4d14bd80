"""The factor of each of Ultralytics' criteria, measured against the parts of its loss."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from ultralytics.cfg import get_cfg
from ultralytics.nn import tasks
from ultralytics.nn.tasks import (
    ClassificationModel,
    DetectionModel,
    OBBModel,
    PoseModel,
    RTDETRDetectionModel,
    SegmentationModel,
)
from ultralytics.utils.loss import E2ELoss

from yolo_stability.compat.criterion import sums_over_images

SIZE = 64
MODELS: dict[str, tuple[type[nn.Module], str]] = {
    "detect, both branches": (DetectionModel, "yolo26n.yaml"),
    "detect": (DetectionModel, "yolov8n.yaml"),
    "obb": (OBBModel, "yolov8n-obb.yaml"),
    "pose": (PoseModel, "yolo26n-pose.yaml"),
    "segment": (SegmentationModel, "yolov8n-seg.yaml"),
    "classify": (ClassificationModel, "yolov8n-cls.yaml"),
    "rtdetr": (RTDETRDetectionModel, "yolov8-rtdetr.yaml"),
}


def batch_of(kind: str, images: int) -> dict[str, Any]:
    """A batch of equal images with one object each."""
    torch.manual_seed(0)
    image = torch.rand(1, 3, SIZE, SIZE)
    box = [0.5, 0.5, 0.5, 0.5, *([0.3] if kind == "obb" else [])]
    return {
        "img": image.repeat(images, 1, 1, 1),
        "cls": torch.zeros(images, 1) if kind != "classify" else torch.zeros(images).long(),
        "bboxes": torch.tensor([box]).repeat(images, 1),
        "batch_idx": torch.arange(images).float(),
        "keypoints": torch.full((images, 17, 3), 0.5),
        "masks": torch.ones(images, SIZE // 4, SIZE // 4),
    }


def loss_of(kind: str, images: int) -> tuple[float, float, bool]:
    """The loss that is differentiated, the sum of its parts per image, and what is said of it."""
    cls, name = MODELS[kind]
    torch.manual_seed(0)
    model: Any = cls(name, verbose=False)
    model.args, model.nc = get_cfg(), 80
    said = sums_over_images(model)
    model.criterion = model.init_criterion()
    if isinstance(model.criterion, E2ELoss):  # its parts are those of one branch
        model.criterion.o2m, model.criterion.o2o = 0.0, 1.0
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()  # equal images have no variance
    loss, parts = model.loss(batch_of(kind, images))
    return float(loss.sum()), sum(float(part) for part in parts.values()), said


@pytest.mark.parametrize("kind", [kind for kind in MODELS if kind != "rtdetr"])
@pytest.mark.parametrize("images", [1, 3])
def test_the_factor_is_that_of_the_criterion(kind: str, images: int) -> None:
    whole, parts, sums = loss_of(kind, images)
    assert sums == (kind != "classify")
    assert whole == pytest.approx(parts * (images if sums else 1), rel=1e-4)


def test_that_of_rtdetr_is_a_mean() -> None:
    """Its parts are those of the last layer only, so equal images are counted instead."""
    losses = [loss_of("rtdetr", images) for images in (2, 4)]
    assert not losses[0][2]
    assert losses[1][0] == pytest.approx(losses[0][0], rel=0.2)


def test_a_class_with_a_loss_of_its_own_is_unknown() -> None:
    class Own(DetectionModel):
        def init_criterion(self) -> Any:
            return lambda preds, batch: (torch.zeros(3), {})

    class Derived(DetectionModel):
        """Brings nothing of its own."""

    assert sums_over_images(Derived("yolov8n.yaml", verbose=False))
    assert not sums_over_images(Own("yolov8n.yaml", verbose=False))
    replaced: Any = DetectionModel("yolov8n.yaml", verbose=False)
    replaced.loss = lambda batch, preds=None: (torch.zeros(3), {})
    assert not sums_over_images(replaced)
    given: Any = DetectionModel("yolov8n.yaml", verbose=False)
    given.criterion = lambda preds, batch: (torch.zeros(3), {})
    assert not sums_over_images(given)


def test_every_criterion_of_ultralytics_is_known() -> None:
    """A new one has to be read first: with the wrong factor a recorded loss is wrong."""
    read = {
        *("BaseModel", "DetectionModel", "OBBModel", "SegmentationModel", "PoseModel"),
        *("ClassificationModel", "RTDETRDetectionModel"),
        *("SemanticSegmentationModel", "DepthModel"),
    }
    found = {
        name
        for name, cls in vars(tasks).items()
        if isinstance(cls, type) and "init_criterion" in vars(cls)
    }
    assert found <= read
