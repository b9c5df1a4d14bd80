"""Replaces BatchNorm in an Ultralytics model by another normalization.

The edit follows Ultralytics' own `fuse()`: the `bn` of a `Conv` is deleted and its `forward` set to
`forward_fuse`, since an `Identity` or `GroupNorm` in place of `bn` crashes `fuse()` in the final
validation. A replacement is inserted before the activation. Only classes of torch and Ultralytics
are inserted, so that the checkpoint loads without this package.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from yolo_stability.compat.ultralytics import Conv, Conv2, ConvTranspose, RepConv, RepVGGDW
from yolo_stability.interventions.norms._base import Norm

__all__ = ["Replaced", "apply_norm", "freeze_statistics"]


@dataclass(slots=True)
class Replaced:
    """Summary of the changes to a model's normalization.

    Attributes:
        removed: Number of removed BatchNorm layers.
        merged: Number of blocks whose parallel convolutions were merged into one.
        kept: Number of other normalization layers, which are unchanged, by class.
    """

    removed: int = 0
    merged: int = 0
    kept: Counter[str] = field(default_factory=Counter)


@torch.no_grad()
def apply_norm(model: nn.Module, norm: Norm) -> Replaced:
    """Replace every BatchNorm2d by another normalization, in place.

    Args:
        model: An unfused Ultralytics model.
        norm: The replacement.
    """
    done = Replaced()
    if norm.replaces:
        for module in list(model.modules()):
            _edit(module, norm, done)
    done.kept = Counter(
        type(m).__name__
        for m in model.modules()
        if "Norm" in type(m).__name__ and type(m) is not _added(norm)
    )
    return done


def freeze_statistics(model: nn.Module) -> None:
    """Freeze the running statistics of every BatchNorm; call after each `model.train()`."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def _added(norm: Norm) -> type[nn.Module] | None:
    """Return the class of the layers that a normalization inserts."""
    layer = norm.layer(8)
    return None if layer is None else type(layer)


def _edit(module: Any, norm: Norm, done: Replaced) -> None:
    """Edit one module if it contains a BatchNorm."""
    if isinstance(module, RepConv):
        _merge_rep(module, norm, done)
    elif isinstance(module, RepVGGDW):
        _merge_depthwise(module, done)
    elif isinstance(module, Conv) and isinstance(getattr(module, "bn", None), nn.BatchNorm2d):
        if isinstance(module, Conv2):
            module.fuse_convs()
            done.merged += 1
        _add_bias(module.conv)
        _take_out(module, norm, done)
    elif isinstance(module, ConvTranspose) and isinstance(
        getattr(module, "bn", None), nn.BatchNorm2d
    ):
        _add_bias(module.conv_transpose)
        _take_out(module, norm, done)
    else:
        _edit_children(module, norm, done)


def _take_out(module: Any, norm: Norm, done: Replaced) -> None:
    """Edit a Conv as `fuse()` does, without folding the BatchNorm; insert the new layer."""
    channels = module.bn.num_features
    del module.bn
    _before_activation(module, norm, channels)
    module.forward = module.forward_fuse
    done.removed += 1


def _before_activation(module: Any, norm: Norm, channels: int) -> None:
    """Insert the new layer, if there is one, before a module's activation."""
    layer = norm.layer(channels)
    if layer is not None:
        module.act = nn.Sequential(layer, module.act)


def _merge_rep(module: Any, norm: Norm, done: Replaced) -> None:
    """Merge a RepConv's branches into one 3x3 convolution, without their BatchNorm."""
    if not hasattr(module, "conv1"):
        return
    first, second = module.conv1.conv, module.conv2.conv
    conv = nn.Conv2d(
        first.in_channels,
        first.out_channels,
        3,
        first.stride,
        first.padding,
        groups=first.groups,
        bias=True,
    )
    conv.weight.copy_(first.weight + nn.functional.pad(second.weight, [1, 1, 1, 1]))
    nn.init.constant_(conv.bias, 0.0)  # type: ignore[arg-type]  # created with bias=True
    done.removed += module.bn is not None  # the BatchNorm of its branches is counted separately
    done.merged += 1
    del module.conv1, module.conv2
    module.bn = None
    module.conv = conv.to(first.weight.device)
    _before_activation(module, norm, conv.out_channels)
    module.forward = module.forward_fuse


def _merge_depthwise(module: Any, done: Replaced) -> None:
    """Merge a RepVGGDW's two convolutions into a 7x7 one; its BatchNorm is replaced separately."""
    if not hasattr(module, "conv1"):
        return
    module.conv.conv.weight.add_(nn.functional.pad(module.conv1.conv.weight, [2, 2, 2, 2]))
    del module.conv1
    module.forward = module.forward_fuse
    done.merged += 1


def _edit_children(module: nn.Module, norm: Norm, done: Replaced) -> None:
    """Replace BatchNorm layers that `fuse()` does not know, such as in RT-DETR's `input_proj`."""
    before: nn.Module | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d):
            if isinstance(before, nn.Conv2d):
                _add_bias(before)
            setattr(module, name, norm.layer(child.num_features) or nn.Identity())
            done.removed += 1
        before = child


def _add_bias(conv: nn.Conv2d | nn.ConvTranspose2d) -> None:
    """Add a bias of zeros to a convolution, in place of the removed BatchNorm bias."""
    if conv.bias is None:
        conv.bias = nn.Parameter(
            torch.zeros(conv.out_channels, device=conv.weight.device, dtype=conv.weight.dtype)
        )
