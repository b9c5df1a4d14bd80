"""Static trainer classes, one per task: importable by name, as workers of a distributed run need them."""

from __future__ import annotations

from functools import cache
from typing import Any

from ultralytics.models.rtdetr.train import RTDETRTrainer
from ultralytics.models.yolo.classify import ClassificationTrainer
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.models.yolo.obb import OBBTrainer
from ultralytics.models.yolo.pose import PoseTrainer
from ultralytics.models.yolo.segment import SegmentationTrainer

from yolo_stability.compat.ultralytics import Trainer
from yolo_stability.trainer.mixin import StabilityMixin

__all__ = [
    "StabilityClassificationTrainer",
    "StabilityDetectionTrainer",
    "StabilityOBBTrainer",
    "StabilityPoseTrainer",
    "StabilityRTDETRTrainer",
    "StabilitySegmentationTrainer",
    "adopt",
    "stability_class",
]


class StabilityDetectionTrainer(StabilityMixin, DetectionTrainer):
    """Watched training of a detection model."""


class StabilityPoseTrainer(StabilityMixin, PoseTrainer):
    """Watched training of a pose model."""


class StabilitySegmentationTrainer(StabilityMixin, SegmentationTrainer):
    """Watched training of a segmentation model."""


class StabilityOBBTrainer(StabilityMixin, OBBTrainer):
    """Watched training of a model for oriented boxes."""


class StabilityClassificationTrainer(StabilityMixin, ClassificationTrainer):
    """Watched training of a classification model."""


class StabilityRTDETRTrainer(StabilityMixin, RTDETRTrainer):
    """Watched training of an RT-DETR model."""


@cache
def stability_class(cls: Any) -> Any:
    """Return the trainer class with the mixin before it.

    Its name still ends in `Trainer`: Ultralytics attaches its loggers by that name.

    Args:
        cls: Any trainer class.
    """
    if issubclass(cls, StabilityMixin):
        return cls
    static = globals().get(f"Stability{cls.__name__}")
    if static is not None and static.__mro__[2] is cls:
        return static
    return type(f"Stability{cls.__name__}", (StabilityMixin, cls), {"__doc__": cls.__doc__})


def adopt(trainer: Trainer) -> None:
    """Give an existing trainer the seam, by changing its class."""
    cls: Any = type(trainer)
    trainer.__class__ = stability_class(cls)
