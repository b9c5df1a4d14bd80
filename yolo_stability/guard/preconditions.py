"""Whether a training may begin from what a checkpoint has brought: no NaN or Inf in anything that it goes on with."""

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

# of other buffers some may hold -inf for good, as an attention mask does
_STATISTICS = ("running_mean", "running_var")
_SCHEDULED = ("lr", "initial_lr")  # Ultralytics sets them anew


class StartingState(TrainingState, Protocol):
    """A training that is about to begin.

    Attributes:
        best_fitness: The best one so far; None without any.
    """

    best_fitness: Any

    @property
    def checkpoint(self) -> str | None:
        """File from which it goes on; None where its weights are new."""

    @property
    def resume(self) -> bool:
        """Whether it goes on with the run of that file."""

    @property
    def save_dir(self) -> Path:
        """The run folder."""


def require_sound_start(state: StartingState) -> None:
    """Refuse a training that goes on from a checkpoint with NaN or Inf in it.

    A best fitness that is no number is forgotten instead: no later one would ever be better.

    What the guard falls back to is the state at the start, so that no step of such a run could be saved from anything.
    Weights that were just initialised may hold what they like: that is what a suite measures.

    Args:
        state: The training after its set-up.

    Raises:
        StabilityError: Something in it is not finite.
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
        f"{source} holds NaN or Inf in {bad[0]}{more}: no training can go on from that. Begin a new run from {other}; "
        f"'yolo-stability diagnose {source}' shows what is damaged."
    )


def is_number(value: Any) -> bool:
    """Return whether a setting of an optimizer holds no NaN or Inf; what is no number at all holds none."""
    if isinstance(value, Tensor):
        return bool(torch.isfinite(value).all())
    if isinstance(value, tuple | list):
        return all(map(is_number, value))
    return not isinstance(value, float) or math.isfinite(value)


def _broken(state: TrainingState) -> Iterator[str]:
    """Yield the names of what is not finite."""
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
    """Yield the names of parameters and statistics that are not finite."""
    kept = [(n, b) for n, b in module.named_buffers() if n.endswith(_STATISTICS)]
    for name, tensor in (*module.named_parameters(), *kept):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor.detach()).all()):
            yield f"{of}{name}"
