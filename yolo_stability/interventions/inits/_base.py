"""`init=`: the weights that a new model starts from.

Each kind is one file in `inits/`. It acts on the weights of every convolution and linear layer that trains; biases
keep what Ultralytics gave them (the head's hold its prior), and so do normalisation layers.
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
    """One way to draw weights; a subclass in its own file is all that a new one takes."""

    hidden_by_norm: ClassVar[bool] = False
    """Whether a normalisation behind the layer undoes it: it only changes the scale."""

    def weight(self, weight: Tensor) -> None:
        """Write new values into the weight of one layer, in place; does nothing unless overridden.

        Args:
            weight: Shape (out, in / groups, ...).
        """

    def on_first_batch(self, model: nn.Module, images: Tensor) -> int:
        """Change weights with data at hand, before the first forward of the training.

        Args:
            model: In training mode, on the device of the images.
            images: Shape (batch, channels, height, width), floats in [0, 1].

        Returns:
            The number of layers changed; 0 for an initialisation that needs no data.
        """
        return 0

    @torch.no_grad()
    def apply(self, model: nn.Module) -> int:
        """Initialise a model in place and return the number of layers."""
        layers = [layer for _, layer in weighted_layers(model)]
        for layer in layers:
            self.weight(layer.weight)
        return len(layers)


def weighted_layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield every convolution and linear layer that trains, by name, in the order of the model."""
    for name, module in model.named_modules():
        if isinstance(module, _WEIGHTED) and _CONSTANT not in f".{name}.":
            yield name, module
