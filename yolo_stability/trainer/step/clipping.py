"""What changes a gradient on purpose: the L1 penalty, and the clip."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from yolo_stability.gradients.updates import NOTHING
from yolo_stability.guard.training_state import TrainingState
from yolo_stability.interventions.clips._base import Gradient
from yolo_stability.interventions.switches import Switches
from yolo_stability.trainer.step.gradient_reading import Reading

__all__ = ["Clipping"]


class Clipping:
    """Regularises and clips the gradients of a step.

    Args:
        switches: They know the clip and the penalty; a rescue may exchange the clip.
    """

    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        self._coefficient = NOTHING

    def apply(self, state: TrainingState, reading: Reading) -> Reading:
        """Add what regularises, then clip; stock's own clip reuses the norm that was measured.

        Args:
            state: The training, gradients unscaled.
            reading: What was measured of them.

        Returns:
            The reading with the coefficient of the clip, where that is known at once.
        """
        params = [p for p in state.model.parameters() if p.grad is not None]
        total, norm = reading.total, reading.raw_norm
        if self._switches.regularize(params):
            total = torch.nn.utils.get_total_norm([p.grad for p in params if p.grad is not None])
            norm = float(total)
        foreach = False if state.device.type == "npu" else None  # as the stock body
        gradient = Gradient(params=params, total=total, norm=norm, foreach=foreach)
        coefficient = self._switches.clip.apply(gradient)
        if isinstance(coefficient, Tensor):
            self._coefficient, coefficient = coefficient, None
        return replace(reading, clip_coef=coefficient)

    def take_coefficient(self) -> Tensor:
        """Return the coefficient of the last clip where it is still on the device, once; else nothing."""
        coefficient, self._coefficient = self._coefficient, NOTHING
        return coefficient
