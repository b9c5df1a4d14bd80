"""Splits a model into blocks: every trainable parameter is in exactly one, under a readable name.

In a YOLO model each module of the list `model.model` is one block; the head, its last module, is
split by branch, since box, class and keypoint branches fail differently. Any other `nn.Module` is
split by its children.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from yolo_stability.core.types import BlockSpec

__all__ = ["model_blocks"]

# Role of each branch of an Ultralytics head by attribute name; for cv4 see _branch_role.
_BRANCH_ROLES = {
    "cv2": "box",
    "cv3": "cls",
    "cv4_kpts": "keypoints",
    "cv4_sigma": "sigma",
    "flow_model": "flow",
    "proto": "proto",
    "linear": "cls",
    "conv": "cls",
    "input_proj": "projection",
    "decoder": "decoder",
    "denoising_class_embed": "denoising",
    "query_pos_head": "decoder",
    "enc_output": "encoder",
    "enc_score_head": "encoder",
    "enc_bbox_head": "encoder",
    "dec_score_head": "cls",
    "dec_bbox_head": "box",
}
_CV4_ROLES = {"Pose": "keypoints", "Segment": "mask", "YOLOESegment": "mask", "OBB": "angle"}
# The DFL projection is a constant stored as a parameter; Ultralytics never trains it.
_CONSTANT_BRANCHES = frozenset({"dfl"})
_TEACHER, _STUDENT = "teacher_model", "student_model"
_ONE2ONE = "one2one_"


class _Place(NamedTuple):
    """Position of a block in the model, and its label."""

    path: str
    number: int
    module_type: str
    role: str
    label: str


def model_blocks(model: nn.Module) -> tuple[BlockSpec, ...]:
    """Split a model into named blocks.

    Args:
        model: An unwrapped model (no DDP or `torch.compile` wrapper): a YOLO model, Ultralytics'
            `DistillationModel` (its frozen teacher is excluded), or any other module.

    Returns:
        The blocks that hold parameters, in the order of the network, with the one2one twins of the
        head last. Modules without parameters, such as Concat or Upsample, form no block.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 1), nn.Tanh(), nn.Linear(1, 1))
        >>> [block.name for block in model_blocks(model)]
        ['0 Linear', '2 Linear']
    """
    members: dict[_Place, dict[str, int]] = {}
    for name, parameter in model.named_parameters():
        place = _place(model, name)
        if place is not None:
            members.setdefault(place, {})[name] = parameter.numel()
    return tuple(
        BlockSpec(
            name=f"{place.path} {place.label}",
            index=place.number,
            module_type=place.module_type,
            role=place.role,
            param_names=tuple(numels),
            numel=sum(numels.values()),
        )
        for place, numels in sorted(
            members.items(), key=lambda item: item[0].role.startswith(_ONE2ONE)
        )
    )


def _place(model: nn.Module, param_name: str) -> _Place | None:
    """Locate the block of a parameter; None for constants and a distillation teacher."""
    first, _, rest = param_name.partition(".")
    if first == _TEACHER:
        return None
    if first == _STUDENT:
        return _place(model.student_model, rest)  # type: ignore[arg-type]
    if first == "model" and _is_yolo(model):
        return _yolo_place(model, rest)
    if not rest:
        return _Place("(root)", -1, type(model).__name__, "module", type(model).__name__)
    kind = type(getattr(model, first)).__name__
    return _Place(first, -1, kind, "module", kind)


def _is_yolo(model: nn.Module) -> bool:
    """Return whether the model is an Ultralytics list of indexed modules."""
    layers = getattr(model, "model", None)
    return (
        isinstance(layers, nn.Sequential)
        and len(layers) > 0
        and all(hasattr(m, "i") for m in layers)
    )


def _yolo_place(model: nn.Module, name: str) -> _Place | None:
    """Locate the block of `model.<name>`, where name starts with the index of the module."""
    layers: nn.Sequential = model.model  # type: ignore[assignment]
    number, branch = name.split(".")[:2]
    index = int(number)
    module = layers[index]
    kind = type(module).__name__
    if index < len(layers) - 1:
        backbone_length = len((getattr(model, "yaml", None) or {}).get("backbone", ()))
        role = "backbone" if index < backbone_length else "neck"
        return _Place(f"model.{index}", index, kind, role, kind)
    if branch in _CONSTANT_BRANCHES:
        return None
    if isinstance(getattr(module, branch), nn.Parameter):
        return _Place(f"model.{index}", index, kind, "head", kind)
    role = _branch_role(branch, module)
    return _Place(
        f"model.{index}.{branch}", index, kind, role, f"{kind} {role.removeprefix(_ONE2ONE)}"
    )


def _branch_role(branch: str, head: nn.Module) -> str:
    """Return the role of a branch: `one2one_cv2` of a Detect head is `one2one_box`."""
    if branch.startswith(_ONE2ONE):
        return _ONE2ONE + _branch_role(branch.removeprefix(_ONE2ONE), head)
    if branch == "cv4":
        families = (base.__name__ for base in type(head).__mro__)
        return next((_CV4_ROLES[f] for f in families if f in _CV4_ROLES), "head")
    return _BRANCH_ROLES.get(branch, "head")
