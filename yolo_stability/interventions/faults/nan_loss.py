"""`fault=nan_loss@3`: the loss and its items are NaN in batch N."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from yolo_stability.compat.ultralytics import map_loss
from yolo_stability.interventions.faults._base import Fault

__all__ = ["NanLoss"]


class NanLoss(Fault):
    """Replaces the loss that the model returns."""

    hits: ClassVar[str] = "the loss"

    def before_forward(self, trainer: Any, iteration: int) -> None:
        """Hook the model at a given iteration.

        The hook removes itself; otherwise it would be copied into the EMA and the checkpoint.
        """
        if iteration not in self.at:
            return

        def poison(
            module: nn.Module, inputs: Any, output: tuple[Tensor, Any]
        ) -> tuple[Tensor, Any]:
            handle.remove()
            loss, items = output
            return loss * torch.nan, map_loss(items, lambda v: v * torch.nan)

        handle = trainer.model.register_forward_hook(poison)
