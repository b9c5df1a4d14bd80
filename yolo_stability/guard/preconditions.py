"""Preconditions of a training: no NaN or Inf in any state that a checkpoint provides."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from yolo_stability.core.errors import StabilityError
from yolo_stability.guard.training_state import TrainingState
from yolo_stability.trace.layout import FOLDER

__all__ = ["StartingState", "is_number", "require_sound_start"]

# other buffers, such as attention masks, may contain -inf permanently
_STATISTICS = ("running_mean", "running_var")
_SCHEDULED = ("lr", "initial_lr")  # Ultralytics sets them again


class StartingState(TrainingState, Protocol):
    """A training before its first step.

    Attributes:
        best_fitness: Best fitness so far; None without any.
    """

    best_fitness: Any

    @property
    def checkpoint(self) -> str | None:
        """File from which it continues; None if its weights are new."""

    @property
    def resume(self) -> bool:
        """Whether it resumes the run of that file."""

    @property
    def save_dir(self) -> Path:
        """The run folder."""


def require_sound_start(state: StartingState) -> None:
    """Raise if a training would continue from a checkpoint with NaN or Inf.

    A best fitness that is not a number is reset instead, since no later one would ever compare as
    better.

    The guard falls back to the state at the start, so nothing could rescue such a run. Newly
    initialized weights are not checked: suites measure their effect.

    Args:
        state: The training after its setup.

    Raises:
        StabilityError: A value is not finite.
    """
    source = state.checkpoint
    if source is None:
        return
    if not is_number(state.best_fitness):
        state.best_fitness = None
    bad = list(_broken(state))
    if not bad:
        return
    healthy = Path(state.save_dir) / FOLDER / "healthy.pt"
    other = f"model={healthy}" if state.resume and healthy.is_file() else "another checkpoint"
    more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
    raise StabilityError(
        f"{source} contains NaN or Inf in {bad[0]}{more}, so no training can continue from it. "
        f"Start a new run from {other}; 'yolo-stability diagnose {source}' shows the damage."
    )


def is_number(value: Any) -> bool:
    """Return whether an optimizer's setting contains no NaN or Inf; other types contain none.

    Example:
        >>> is_number((0.9, float("nan"))), is_number("fused")
        (False, True)
    """
    if isinstance(value, Tensor):
        return bool(torch.isfinite(value).all())
    if isinstance(value, tuple | list):
        return all(map(is_number, value))
    return not isinstance(value, float) or math.isfinite(value)


def _broken(state: TrainingState) -> Iterator[str]:
    """Yield the names of non-finite values."""
    yield from _tensors("", state.model)
    if state.ema:
        yield from _tensors("EMA: ", state.ema.ema)
        if not is_number(state.ema.updates):
            yield "the EMA's number of updates"
    for slots in state.optimizer.state.values():
        yield from (
            f"the optimizer's {key}" for key, value in slots.items() if not is_number(value)
        )
    for group in state.optimizer.param_groups:
        numbers = {k: v for k, v in group.items() if k != "params" and k not in _SCHEDULED}
        yield from (
            f"the optimizer's {key}" for key, value in numbers.items() if not is_number(value)
        )
    if not is_number(state.scaler.get_scale()):
        yield "the scale of AMP"


def _tensors(of: str, module: nn.Module) -> Iterator[str]:
    """Yield the names of non-finite parameters and statistics."""
    kept = [(n, b) for n, b in module.named_buffers() if n.endswith(_STATISTICS)]
    for name, tensor in (*module.named_parameters(), *kept):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor.detach()).all()):
            yield f"{of}{name}"
