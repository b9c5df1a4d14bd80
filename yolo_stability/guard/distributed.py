"""Agreement between the processes of a distributed training, so that every rank decides alike.

Gradients are all-reduced by DDP, but loss and BatchNorm statistics are local to each rank: a NaN on
one rank must skip the step on all of them, or their weights diverge permanently.
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


def agree(
    state: Processes, signs: StepSigns, values: Sequence[float] = ()
) -> tuple[StepSigns, list[tuple[float, ...]]]:
    """Return the signs for all ranks, the mean loss and the largest buffer; call it on every rank.

    Args:
        state: The training.
        signs: Signs of this rank; returned unchanged in a training of one process.
        values: Further numbers of this rank.

    Returns:
        The signs, and each of the further numbers on all ranks, in rank order.
    """
    if not is_distributed(state):
        return signs, [(value,) for value in values]
    buffer = 0.0 if signs.largest_buffer is None else signs.largest_buffer
    losses, buffers, *others = zip(*_gather(state, [signs.loss, buffer, *values]), strict=True)
    largest = math.nan if any(math.isnan(b) for b in buffers) else max(buffers)
    common = replace(
        signs,
        loss=sum(losses) / len(losses),
        largest_buffer=None if signs.largest_buffer is None else largest,
    )
    return common, others


def all_ranks(state: Processes, answer: bool) -> bool:
    """Return whether the answer is true on every rank; call it on every rank."""
    if not is_distributed(state):
        return answer
    return all(row[0] == 1.0 for row in _gather(state, [float(answer)]))


def broadcast(state: Processes, tensors: Sequence[Tensor]) -> None:
    """Overwrite tensors with those of rank 0, in place; call it on every rank."""
    if is_distributed(state):
        for tensor in tensors:
            dist.broadcast(tensor.detach(), src=0)


def _gather(state: Processes, values: list[float]) -> list[list[float]]:
    """Return the values of every rank, in rank order."""
    mine = torch.tensor(values, dtype=torch.float32, device=state.device)
    every = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(every, mine)
    rows: list[list[float]] = torch.stack(every).tolist()
    return rows
