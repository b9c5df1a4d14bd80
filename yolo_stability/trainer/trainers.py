"""Static trainer classes, one per task: importable by name, as workers of a distributed run need them."""

from __future__ import annotations

from ultralytics.models.rtdetr.train import RTDETRTrainer
from ultralytics.models.yolo.classify import ClassificationTrainer
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.models.yolo.obb import OBBTrainer
from ultralytics.models.yolo.pose import PoseTrainer
from ultralytics.models.yolo.segment import SegmentationTrainer

from yolo_stability.trainer.mixin import StabilityMixin

__all__ = [
    "StabilityClassificationTrainer",
    "StabilityDetectionTrainer",
    "StabilityOBBTrainer",
    "StabilityPoseTrainer",
    "StabilityRTDETRTrainer",
    "StabilitySegmentationTrainer",
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
