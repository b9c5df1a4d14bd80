"""Base class of weight initializations for `init=`.

Each kind is one file in `inits/`. It sets the weights of every trainable convolution and linear
layer; biases keep the values of Ultralytics (the head's contain its prior), and so do normalization
layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from yolo_stability.interventions.choice import Choice

__all__ = ["STOCK_INIT", "Init", "weighted_layers"]

STOCK_INIT = "default"
_WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
_CONSTANT = ".dfl."  # a projection that Ultralytics stores as a weight and never trains


class Init(Choice):
    """Base class of weight initializations; a new one is one subclass in its own file.

    Example:
        >>> class TenthInit(Init):
        ...     def weight(self, weight):
        ...         weight.fill_(0.1)
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> TenthInit().apply(model)
        2
        >>> round(model[0].weight.sum().item(), 4)
        0.6
    """

    hidden_by_norm: ClassVar[bool] = False
    """Whether normalization after the layer undoes it, since it only changes the scale."""

    def weight(self, weight: Tensor) -> None:
        """Write new values into the weight of one layer in place; does nothing unless overridden.

        Args:
            weight: Weight of shape (out, in / groups, ...).
        """

    def on_first_batch(self, model: nn.Module, images: Tensor) -> int:
        """Adjust weights to data, before the first forward of the training.

        Args:
            model: Model in training mode, on the device of the images.
            images: Shape (batch, channels, height, width), floats in [0, 1].

        Returns:
            Number of changed layers; 0 for an initialization that needs no data.
        """
        return 0

    @torch.no_grad()
    def apply(self, model: nn.Module) -> int:
        """Initialize a model in place and return the number of layers."""
        layers = [layer for _, layer in weighted_layers(model)]
        for layer in layers:
            self.weight(layer.weight)
        return len(layers)


def weighted_layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield name and module of every trainable convolution and linear layer, in model order."""
    for name, module in model.named_modules():
        if isinstance(module, _WEIGHTED) and _CONSTANT not in f".{name}.":
            yield name, module
