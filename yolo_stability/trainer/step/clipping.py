"""Intentional changes to gradients: the L1 penalty and the clip."""

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
    """Regularizes and clips the gradients of a step.

    Args:
        switches: Switches that hold the clip and the penalty; a rescue may replace the clip.
    """

    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        self._coefficient = NOTHING

    def apply(self, state: TrainingState, reading: Reading) -> Reading:
        """Add the penalty's gradient, then clip; the stock clip reuses the measured norm.

        Args:
            state: State of the training with unscaled gradients.
            reading: Measurements of these gradients.

        Returns:
            The reading with the clip coefficient, if it is already on the host.
        """
        params = [p for p in state.model.parameters() if p.grad is not None]
        total, norm = reading.total, reading.raw_norm
        if self._switches.regularize(params):
            total = torch.nn.utils.get_total_norm([p.grad for p in params if p.grad is not None])
            norm = float(total)
        foreach = False if state.device.type == "npu" else None  # as in the stock step
        gradient = Gradient(params=params, total=total, norm=norm, foreach=foreach)
        coefficient = self._switches.clip.apply(gradient)
        if isinstance(coefficient, Tensor):
            self._coefficient, coefficient = coefficient, None
        return replace(reading, clip_coef=coefficient)

    def take_coefficient(self) -> Tensor:
        """Return and clear the latest coefficient if it is on the device, else an empty tensor."""
        coefficient, self._coefficient = self._coefficient, NOTHING
        return coefficient
