"""The factor by which Ultralytics' criteria multiply the loss that is differentiated."""

from __future__ import annotations

from torch import nn
from ultralytics.nn import tasks
from ultralytics.utils import loss
from ultralytics.utils.torch_utils import unwrap_model

__all__ = ["sums_over_images"]

_SUMS = ("DetectionModel", "OBBModel", "SegmentationModel", "PoseModel")
# in the newest versions only
_SUMS_TOO = ("DepthModel", "SemanticSegmentationModel")
_CRITERIA = {vars(tasks)[name] for name in (*_SUMS, *_SUMS_TOO) if name in vars(tasks)}
_LOSSES = {
    vars(tasks)[name]
    for name in ("BaseModel", "WorldModel", "YOLOEModel", "YOLOESegModel")
    if name in vars(tasks)
}


def sums_over_images(model: nn.Module) -> bool:
    """Return whether the criterion multiplies its mean loss by the images of a batch.

    Those of detect, segment, pose and obb do (`loss * batch_size` in `ultralytics/utils/loss.py`),
    those of classify and RT-DETR do not. Of a model whose class brings its own loss or criterion
    nothing is known: its loss is recorded as it is.

    Args:
        model: The model of a trainer.

    Example:
        >>> sums_over_images(nn.Linear(2, 1))
        False
    """
    inner = unwrap_model(model)
    inner = getattr(inner, "student_model", inner)  # distillation adds a term with the same factor
    criterion = getattr(inner, "criterion", None)  # None until the first batch
    return (
        (criterion is None or type(criterion).__module__ == loss.__name__)
        and _owner(inner, "loss") in _LOSSES
        and _owner(inner, "init_criterion") in _CRITERIA
    )


def _owner(model: nn.Module, method: str) -> type | None:
    """Return the class that defines a method of a model; None if the object itself does."""
    if method in vars(model):
        return None
    return next((cls for cls in type(model).__mro__ if method in vars(cls)), None)
