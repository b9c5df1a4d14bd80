"""`fault=grad_spike@3`: the gradient of one block is 1000 times too large at optimizer step N."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from yolo_stability.compat.ultralytics import inner_model
from yolo_stability.core.errors import ConfigError
from yolo_stability.core.suggestions import nearest
from yolo_stability.gradients.blocks import model_blocks
from yolo_stability.interventions.faults._base import Fault

__all__ = ["GradientSpike"]

_FACTOR = 1000.0


class GradientSpike(Fault):
    """Injects a finite spike in one block, which no check for NaN or Inf detects.

    Attributes:
        block: Name of the block to strike; None for the middle one of those that have a gradient,
            as users get. A benchmark of the localization of spikes sets another block on the class.
    """

    counts: ClassVar[str] = "optimizer step"
    block: ClassVar[str | None] = None

    @torch.no_grad()
    def on_gradients(self, trainer: Any, step: int) -> None:
        """Multiply the gradient of the block at a given step.

        Raises:
            ConfigError: No block of that name has a gradient.
        """
        if step not in self.at:
            return
        model = inner_model(trainer)
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        blocks = {
            block.name: [gradients[name] for name in block.param_names if name in gradients]
            for block in model_blocks(model)
        }
        struck = [name for name, grads in blocks.items() if grads]
        chosen = struck[len(struck) // 2] if self.block is None else self.block
        if chosen not in struck:
            raise ConfigError(
                f"fault={self}: no block '{chosen}' has a gradient.{nearest(chosen, struck)}"
            )
        for grad in blocks[chosen]:
            grad.mul_(_FACTOR)
