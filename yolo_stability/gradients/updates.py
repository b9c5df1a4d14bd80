"""Weight norm and update ratio, at every step while things are young or changing and sampled later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from yolo_stability.core.types import StepRecord
from yolo_stability.gradients.norms import BlockIndex, tensor_norms

__all__ = ["NOTHING", "UpdateSampler", "UpdateSampling", "with_update_ratios"]

NOTHING = torch.zeros(0)
"""A vector of norms that were not measured."""


class UpdateSampler:
    """Measures ||w|| and ||delta w|| of chosen steps by copying the weights before the update.

    The largest update ratio was the first sign of trouble in 21 of 21 failing runs, 1 to 45 steps ahead; so the
    first steps, and those after an alarm, are all measured.

    Args:
        params: The parameters to watch.
        every: Measure each `every`-th step; 0 measures none at all.
        dense: Measure every one of this many steps at the start and after an alarm.
    """

    def __init__(self, params: Sequence[nn.Parameter], every: int, dense: int = 50) -> None:
        self._params, self._every, self._dense = list(params), every, dense
        self._left = dense
        self._before: list[Tensor] = []

    def alarm(self) -> None:
        """Measure the next steps closely."""
        self._left = self._dense

    def wants(self, step: int) -> bool:
        """Return whether this step is to be measured, for what is measured before it is due.

        Args:
            step: The optimizer step, counted from 0.
        """
        return self._every > 0 and (self._left > 0 or step % self._every == 0)

    def due(self, step: int) -> bool:
        """Return whether this step is to be measured; call once a step.

        Args:
            step: The optimizer step, counted from 0.
        """
        wanted = self.wants(step)
        if self._every > 0:
            self._left = max(0, self._left - 1)
        return wanted

    @torch.no_grad()
    def before(self) -> None:
        """Copy the weights; call right before the update."""
        if not self._before:
            self._before = [torch.empty_like(p) for p in self._params]
        torch._foreach_copy_(self._before, [p.detach() for p in self._params])

    @torch.no_grad()
    def after(self) -> tuple[Tensor, Tensor]:
        """Return (weight norms before the update, norms of the update), each of shape (params,)."""
        weights = tensor_norms(self._before)
        # In place: the copy is written anew before it is needed again, and a fresh one costs page faults.
        torch._foreach_sub_(self._before, [p.detach() for p in self._params])
        return weights, tensor_norms(self._before)


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


def with_update_ratios(
    record: StepRecord,
    index: BlockIndex,
    positions: NDArray[np.int64],
    weights: NDArray[np.float64],
    deltas: NDArray[np.float64],
) -> StepRecord:
    """Return a record with weight norm and update ratio of each block.

    Args:
        record: The record.
        index: The parameters and their blocks.
        positions: Block position of each sampled tensor, shape (n,).
        weights: Norm of each before the update, shape (n,); empty where the step was not sampled.
        deltas: Norm of each one's change, shape (n,).
    """
    if not len(weights):
        return record
    norms = zip(index.combine(weights, positions), index.combine(deltas, positions), strict=True)
    blocks = tuple(
        replace(stats, weight_norm=w, update_ratio=d / w if w and d is not None else None)
        for stats, (w, d) in zip(record.blocks, norms, strict=True)
    )
    return replace(record, blocks=blocks)
