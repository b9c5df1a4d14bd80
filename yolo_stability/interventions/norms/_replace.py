"""Takes BatchNorm out of a model of Ultralytics and puts another normalisation in its place.

The surgery is that of Ultralytics' own `fuse()`: the `bn` of a `Conv` is deleted and its `forward` set to
`forward_fuse`, for an `Identity` or `GroupNorm` in the place of `bn` crashes `fuse()` in the final validation. A
replacement goes in front of the activation. Only classes of torch and Ultralytics end up in the model, so that
anybody can load its checkpoint.
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
    """What was done to the normalisation of a model.

    Attributes:
        removed: BatchNorm layers taken out.
        merged: Convolutions of several branches that had to become one.
        kept: Other normalisation layers, which stay as they are, by class.
    """

    removed: int = 0
    merged: int = 0
    kept: Counter[str] = field(default_factory=Counter)


@torch.no_grad()
def apply_norm(model: nn.Module, norm: Norm) -> Replaced:
    """Put another normalisation in the place of every BatchNorm2d, in place.

    Args:
        model: An unfused model of Ultralytics.
        norm: What to put there.
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
    """Let every BatchNorm normalise by its running statistics and leave them alone; call after each `model.train()`."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def _added(norm: Norm) -> type[nn.Module] | None:
    """Return the class of the layers that a norm puts in."""
    layer = norm.layer(8)
    return None if layer is None else type(layer)


def _edit(module: Any, norm: Norm, done: Replaced) -> None:
    """Edit one module, if it owns a BatchNorm."""
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
    """Do to a Conv what `fuse()` does, without folding the BatchNorm in; put the new layer before the activation."""
    channels = module.bn.num_features
    del module.bn
    _before_activation(module, norm, channels)
    module.forward = module.forward_fuse
    done.removed += 1


def _before_activation(module: Any, norm: Norm, channels: int) -> None:
    """Put the new layer, if there is one, in front of a module's activation."""
    layer = norm.layer(channels)
    if layer is not None:
        module.act = nn.Sequential(layer, module.act)


def _merge_rep(module: Any, norm: Norm, done: Replaced) -> None:
    """Make one 3x3 convolution of a RepConv's branches: its `fuse_convs` would look for their BatchNorm."""
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
    nn.init.constant_(conv.bias, 0.0)  # type: ignore[arg-type]  # it was asked for
    done.removed += module.bn is not None  # those of its branches are counted when their turn comes
    done.merged += 1
    del module.conv1, module.conv2
    module.bn = None
    module.conv = conv.to(first.weight.device)
    _before_activation(module, norm, conv.out_channels)
    module.forward = module.forward_fuse


def _merge_depthwise(module: Any, done: Replaced) -> None:
    """Make one 7x7 convolution of a RepVGGDW's two, as its `fuse` does; the BatchNorm of what is left comes later."""
    if not hasattr(module, "conv1"):
        return
    module.conv.conv.weight.add_(nn.functional.pad(module.conv1.conv.weight, [2, 2, 2, 2]))
    del module.conv1
    module.forward = module.forward_fuse
    done.merged += 1


def _edit_children(module: nn.Module, norm: Norm, done: Replaced) -> None:
    """Exchange BatchNorm layers that `fuse()` knows nothing of, such as those of RT-DETR's `input_proj`."""
    before: nn.Module | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d):
            if isinstance(before, nn.Conv2d):
                _add_bias(before)
            setattr(module, name, norm.layer(child.num_features) or nn.Identity())
            done.removed += 1
        before = child


def _add_bias(conv: nn.Conv2d | nn.ConvTranspose2d) -> None:
    """Give a convolution a bias of zeros: that of its BatchNorm goes."""
    if conv.bias is None:
        conv.bias = nn.Parameter(
            torch.zeros(conv.out_channels, device=conv.weight.device, dtype=conv.weight.dtype)
        )
