"""Several processes, one decision: what every rank knows, gathered so that every rank judges alike.

Gradients are all-reduced by DDP, but the loss and the BatchNorm statistics are each rank's own: a NaN on one rank
must skip the step on all of them, or their weights part for good.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch import distributed as dist

from yolo_stability.guard.guard import StepSigns
from yolo_stability.guard.training_state import Processes

__all__ = ["agree", "all_ranks", "broadcast", "is_distributed"]


def is_distributed(state: Processes) -> bool:
    """Return whether several processes train this model together."""
    return bool(state.world_size > 1 and dist.is_available() and dist.is_initialized())


def agree(state: Processes, signs: StepSigns) -> StepSigns:
    """Return the signs that hold for all ranks: the mean loss and the largest buffer; call it on every rank.

    Args:
        state: The training.
        signs: What this rank knows; returned unchanged in a training of one process.
    """
    if not is_distributed(state):
        return signs
    buffer = 0.0 if signs.largest_buffer is None else signs.largest_buffer
    losses, buffers = zip(*_gather(state, [signs.loss, buffer]), strict=True)
    largest = math.nan if any(math.isnan(b) for b in buffers) else max(buffers)
    return replace(
        signs,
        loss=sum(losses) / len(losses),
        largest_buffer=None if signs.largest_buffer is None else largest,
    )


def all_ranks(state: Processes, answer: bool) -> bool:
    """Return whether every rank answers yes; call it on every rank."""
    if not is_distributed(state):
        return answer
    return all(row[0] == 1.0 for row in _gather(state, [float(answer)]))


def broadcast(state: Processes, tensors: Sequence[Tensor]) -> None:
    """Give every rank the tensors of rank 0, in place; call it on every rank."""
    if is_distributed(state):
        for tensor in tensors:
            dist.broadcast(tensor.detach(), src=0)


def _gather(state: Processes, values: list[float]) -> list[list[float]]:
    """Return the values of every rank, in the order of ranks."""
    mine = torch.tensor(values, dtype=torch.float32, device=state.device)
    every = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(every, mine)
    rows: list[list[float]] = torch.stack(every).tolist()
    return rows
