"""Description of a run's model, and its reconstruction in another process."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn import tasks
from ultralytics.utils import IterableSimpleNamespace

from yolo_stability.compat.ultralytics import quiet
from yolo_stability.config import StabilitySettings
from yolo_stability.core.errors import StabilityError
from yolo_stability.guard.incidents.layer_allowlist import checked_yaml, no_larger_than
from yolo_stability.interventions.switches import Switches

__all__ = ["describe_model", "extra_tensors", "rebuild_model"]


def describe_model(model: nn.Module) -> dict[str, Any]:
    """Return the description needed to rebuild a model, apart from its weights.

    Args:
        model: An unwrapped Ultralytics model that has processed a batch.
    """
    own = {k: v for k, v in vars(model).items() if not k.startswith("_")}
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    still = [
        name for name, module in model.named_modules() if model.training and not module.training
    ]
    return {
        "class": type(model).__name__,
        "yaml": getattr(model, "yaml", None),
        "attributes": {
            k: v for k, v in own.items() if _is_plain(v) and k not in {"training", "yaml", "args"}
        },
        "criterion": {
            k: v
            for k, v in vars(getattr(model, "criterion", SimpleNamespace())).items()
            if _is_number(v)
        },
        "frozen": frozen,
        "not_training": still,
    }


def extra_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors that are neither parameters nor buffers, such as `class_weights`."""
    return {k: v for k, v in vars(model).items() if isinstance(v, Tensor) and not k.startswith("_")}


def rebuild_model(
    facts: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    extras: Mapping[str, Tensor],
    device: torch.device,
) -> nn.Module:
    """Build the model of an incident with its switches and weights, ready for a training batch.

    Args:
        facts: Content of `incident.json`.
        weights: Parameters and buffers.
        extras: Result of `extra_tensors`.
        device: Device of the model.

    Raises:
        StabilityError: The class of the model cannot be built from its YAML alone, or the YAML
            requests more than layers.
    """
    described = facts["model"]
    cls = getattr(tasks, str(described["class"]), None)
    if not (isinstance(cls, type) and issubclass(cls, tasks.BaseModel)) or not isinstance(
        described["yaml"], Mapping
    ):
        raise StabilityError(
            f"A model of class {described['class']} cannot be built from the incident alone; "
            "the original findings are in incident.json."
        )
    config = checked_yaml(described["yaml"])
    with quiet(), no_larger_than(sum(value.numel() for value in weights.values())):
        model: nn.Module = cls(
            config, ch=config.get("channels", config.get("ch", 3)), nc=config["nc"], verbose=False
        )
    # the YAML already contains the depth, and the weights are loaded
    settings = StabilitySettings(**facts["settings"]).model_copy(
        update={"init": StabilitySettings.model_fields["init"].default, "depth_mult": 1.0}
    )
    switches = Switches(settings)
    if switches.edit_model:
        switches.edit(model, pretrained=False)
    model.load_state_dict(dict(weights))
    attributes = {key: value for key, value in described["attributes"].items() if _is_plain(value)}
    for key, value in {**attributes, **extras}.items():
        setattr(model, key, value)
    model.args = IterableSimpleNamespace(**facts["args"])
    _set_modes(model, described)
    model.to(device)
    model.criterion = model.init_criterion()  # type: ignore[operator]
    vars(model.criterion).update({k: v for k, v in described["criterion"].items() if _is_number(v)})
    return model


def _set_modes(model: nn.Module, described: Mapping[str, Any]) -> None:
    """Restore the training mode of modules and the frozen parameters."""
    model.train()
    still, frozen = set(described["not_training"]), set(described["frozen"])
    for name, module in model.named_modules():
        module.training = name not in still
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name not in frozen


def _is_number(value: Any) -> bool:
    """Return whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_plain(value: Any) -> bool:
    """Return whether a value is a number, a string, or a list of such."""
    if isinstance(value, list | tuple):
        return all(_is_plain(v) for v in value)
    return isinstance(value, bool | str) or _is_number(value)
