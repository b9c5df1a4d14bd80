"""`init=lsuv`: orthogonal, then unit variance of each layer's output (Mishkin and Matas 2016).

The paper repeats forward passes until each layer's variance is one. Since a layer's output is
linear in its weight, one pass is exact: each layer and its output are scaled before the next layer
receives it. The batch is the first one of the training, so no random number is drawn for it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from yolo_stability.interventions.inits._base import Init, weighted_layers

__all__ = ["LsuvInit"]

_SMALLEST_DEVIATION = 1e-8


class LsuvInit(Init):
    """Layer-sequential unit-variance initialization."""

    hidden_by_norm: ClassVar[bool] = True

    def weight(self, weight: Tensor) -> None:
        """Draw an orthogonal weight."""
        nn.init.orthogonal_(weight)

    @torch.no_grad()
    def on_first_batch(self, model: nn.Module, images: Tensor) -> int:
        """Scale every layer that the images reach; buffers are restored afterwards."""
        buffers = {n: b.clone() for n, b in model.named_buffers()}
        scaled: set[int] = set()

        def scale(layer: Any, _: Any, output: Tensor) -> Tensor:
            shift = 0 if layer.bias is None else layer.bias.view(-1, *[1] * (output.ndim - 2))
            deviation = (output - shift).std()
            if (
                id(layer) in scaled
                or not torch.isfinite(deviation)
                or deviation < _SMALLEST_DEVIATION
            ):
                return output
            scaled.add(id(layer))
            layer.weight.div_(deviation)
            return (output - shift) / deviation + shift

        handles = [
            layer.register_forward_hook(scale)
            for _, layer in weighted_layers(model)
            if not isinstance(layer, nn.Linear)
        ]
        try:
            model(images)
        finally:
            for handle in handles:
                handle.remove()
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
        return len(scaled)
