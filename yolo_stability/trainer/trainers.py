"""Static trainer classes, one per task, importable by name as distributed workers require."""

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
    """Watched trainer for detection models."""


class StabilityPoseTrainer(StabilityMixin, PoseTrainer):
    """Watched trainer for pose models."""


class StabilitySegmentationTrainer(StabilityMixin, SegmentationTrainer):
    """Watched trainer for segmentation models."""


class StabilityOBBTrainer(StabilityMixin, OBBTrainer):
    """Watched trainer for models with oriented bounding boxes."""


class StabilityClassificationTrainer(StabilityMixin, ClassificationTrainer):
    """Watched trainer for classification models."""


class StabilityRTDETRTrainer(StabilityMixin, RTDETRTrainer):
    """Watched trainer for RT-DETR models."""


@cache
def stability_class(cls: Any) -> Any:
    """Return the trainer class with the mixin in front.

    The name of the new class still ends in `Trainer`, by which Ultralytics selects loggers.

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
    """Add the mixin to an existing trainer by changing its class."""
    cls: Any = type(trainer)
    trainer.__class__ = stability_class(cls)
