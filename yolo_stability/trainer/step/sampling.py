"""Which steps have their update measured, and the measurement itself."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from yolo_stability.gradients.norms import BlockIndex
from yolo_stability.gradients.updates import UpdateSampler

__all__ = ["NOTHING", "UpdateSampling"]

NOTHING = torch.zeros(0)


class UpdateSampling:
    """Measures weight norms and updates of sampled steps.

    Args:
        index: The parameters; frozen ones are not measured.
        every: Sampling in steps; 0 for never.

    Attributes:
        positions: Block position of each measured tensor, shape (n,).
        due: The present step is measured.
    """

    def __init__(self, index: BlockIndex, every: int) -> None:
        trained = [p.requires_grad for p in index.params]
        self.positions = index.positions[np.array(trained, bool)]
        self.due = False
        self._sampler = UpdateSampler([p for p in index.params if p.requires_grad], every)

    def wants(self, step: int) -> bool:
        """Return whether a step will be measured."""
        return self._sampler.wants(step)

    def alarm(self) -> None:
        """Measure the next steps closely."""
        self._sampler.alarm()

    def before_update(self, step: int) -> None:
        """Copy the weights if this step's update is to be measured."""
        self.due = self._sampler.due(step)
        if self.due:
            self._sampler.before()

    def after_update(self) -> tuple[Tensor, Tensor]:
        """Return norms of weights and of their updates, still on the device; empty where not measured."""
        return self._sampler.after() if self.due else (NOTHING, NOTHING)
