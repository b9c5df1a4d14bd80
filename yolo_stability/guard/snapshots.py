"""Healthy training states in memory: two snapshots, the older proven by later steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from yolo_stability.guard.distributed import broadcast
from yolo_stability.guard.preconditions import is_number
from yolo_stability.guard.training_state import TrainingState

__all__ = ["HealthyStates", "Snapshot", "start_over"]

_CLEAR = 8  # minimum distance in steps between a snapshot and the first sign of trouble


class Snapshot:
    """A copy of everything that training changes: model, EMA, optimizer state and scaler.

    Copies are kept in host memory (pinned for CUDA, so that a copy does not synchronize the device)
    and in the precision of the originals, whereas `last.pt` is half precision and passed through
    `nan_to_num`.

    Args:
        state: The training after its setup.
    """

    def __init__(self, state: TrainingState) -> None:
        self.step = -1
        self.place = 0
        self._pin = state.device.type == "cuda"
        self._copies: dict[Any, Tensor] = {}
        self._of: tuple[Any, Any] | None = None
        self._sources: list[Tensor] = []
        self._places: list[Tensor] = []
        self._optimizer: dict[Tensor, dict[str, Any]] = {}
        self._groups: list[dict[str, Any]] = []
        self._ema_updates = 0
        self._scaler: dict[str, Any] = {}

    @torch.no_grad()
    def take(self, state: TrainingState, step: int, place: int = 0) -> None:
        """Copy the current state.

        Args:
            state: The training.
            step: Number of optimizer steps applied so far.
            place: Number of completed warm-up iterations.
        """
        self.step, self.place = step, place
        model = (state.model, state.ema.ema if state.ema else None)
        if self._of is None or any(a is not b for a, b in zip(model, self._of, strict=True)):
            # only after a recovery, which creates a new EMA: collecting costs more than copying
            self._of = model
            named = _state_tensors(state)
            self._sources = [tensor for _, tensor in named]
            self._places = [self._place(key, tensor) for key, tensor in named]
        torch._foreach_copy_(self._places, self._sources, non_blocking=self._pin)
        self._optimizer = {
            p: {
                k: self._copy((id(p), k), v) if isinstance(v, Tensor) else v
                for k, v in slots.items()
            }
            for p, slots in state.optimizer.state.items()
        }
        self._groups = [
            {k: v for k, v in g.items() if k != "params"} for g in state.optimizer.param_groups
        ]
        self._ema_updates = state.ema.updates if state.ema else 0
        self._scaler = state.scaler.state_dict()

    @torch.no_grad()
    def restore(self, state: TrainingState) -> None:
        """Restore the copy in place; learning rates and schedule are kept if they are numbers.

        In place, since the EMA holds references to the original tensors; it would never average
        replaced ones.
        """
        for key, tensor in _state_tensors(state):
            tensor.copy_(self._copies[key])
        slots = state.optimizer.state
        for p in [p for p in slots if p not in self._optimizer]:
            del slots[p]
        for p, saved in self._optimizer.items():
            for k, v in saved.items():
                if isinstance(v, Tensor) and isinstance(slots[p].get(k), Tensor):
                    slots[p][k].copy_(v)
                else:
                    slots[p][k] = v.to(p.device, copy=True) if isinstance(v, Tensor) else v
        for group, known in zip(state.optimizer.param_groups, self._groups, strict=False):
            group.update({k: known[k] for k, v in group.items() if k in known and not is_number(v)})
        if state.ema:
            state.ema.updates = self._ema_updates
        if self._scaler:
            state.scaler.load_state_dict(self._scaler)

    def _copy(self, key: Any, tensor: Tensor) -> Tensor:
        """Copy a tensor to its host memory."""
        place = self._place(key, tensor)
        place.copy_(tensor, non_blocking=self._pin)
        return place

    def _place(self, key: Any, tensor: Tensor) -> Tensor:
        """Return a tensor's host memory, which is allocated once."""
        place = self._copies.get(key)
        if place is None:
            place = torch.empty_like(
                tensor, device="cpu", pin_memory=self._pin and tensor.device.type == "cuda"
            )
            self._copies[key] = place
        return place


class HealthyStates:
    """Maintains the last state that has proven healthy.

    A snapshot counts only after `age` healthy steps, since weights may be finite one step before
    they are not. Until then the older snapshot is used. A young run, whose weights change fastest,
    would lose all its progress that way: there a snapshot counts after as many healthy steps as the
    run had at that time, at least `youngest`.

    Args:
        state: The training at its start; its first state counts as healthy.
        step: Number of optimizer steps applied so far.
        place: Number of completed warm-up iterations of the first state.
        age: Healthy steps after which a snapshot is trusted.
        youngest: Minimum of these steps for an early snapshot.
    """

    def __init__(
        self, state: TrainingState, step: int, age: int = 32, youngest: int = 4, place: int = 0
    ) -> None:
        self._age, self._youngest, self._first = age, youngest, step
        self._trusted, self._candidate = Snapshot(state), Snapshot(state)
        self._trusted.take(state, step, place)
        self._candidate_healthy = False
        self._proof = self._wait = 0

    @property
    def step(self) -> int:
        """Number of optimizer steps applied to the trusted state."""
        return self._trusted.step

    @property
    def place(self) -> int:
        """Number of completed warm-up iterations of the trusted state."""
        return self._trusted.place

    def observe(self, state: TrainingState, step: int, *, healthy: bool, place: int = 0) -> None:
        """Process a step; call after the update.

        Args:
            state: The training.
            step: Number of optimizer steps so far.
            healthy: Whether the step was applied, and was within the run's own baseline.
            place: Number of completed warm-up iterations so far.
        """
        if not healthy:
            self._candidate_healthy, self._wait = False, _CLEAR
            return
        self._proof, self._wait = self._proof + 1, max(self._wait - 1, 0)
        if not self._candidate_healthy:
            if (
                not self._wait
            ):  # until then the snapshot from before the trouble may still be needed
                self._take(state, step, place)
        elif self._proof >= self._needed(self._candidate.step - self._first):
            self._trusted, self._candidate = self._candidate, self._trusted
            self._take(state, step, place)

    def _take(self, state: TrainingState, step: int, place: int) -> None:
        """Make the current state the candidate."""
        self._candidate.take(state, step, place)
        self._candidate_healthy, self._proof = True, 0

    def _needed(self, lived: int) -> int:
        """Return how many healthy steps must follow a snapshot taken after a number of steps."""
        return min(self._age, max(self._youngest, lived))

    def restore(self, state: TrainingState, before: int | None = None) -> int:
        """Roll the training back to the trusted state.

        Args:
            state: The training.
            before: Step of the first sign of trouble, if known: the younger snapshot is used if it
                was taken well before it.

        Returns:
            Number of optimizer steps applied to that state.
        """
        if before is not None and self._trusted.step < self._candidate.step <= before - _CLEAR:
            self._trusted, self._candidate = self._candidate, self._trusted
        self._trusted.restore(state)
        if self._candidate.step > self._trusted.step:
            self._candidate.step = -1  # it belongs to the undone steps
        self._candidate_healthy = False
        return self._trusted.step


@torch.no_grad()
def start_over(state: TrainingState) -> None:
    """Synchronize new weights to every rank and to the EMA at the start of a training.

    Args:
        state: The training before its first step; its model has just been changed in place.
    """
    model = state.model
    broadcast(state, list(model.parameters()))
    if state.ema:
        average = dict(state.ema.ema.named_parameters())
        for name, tensor in model.named_parameters():
            if name in average:
                average[name].copy_(tensor)


def _state_tensors(state: TrainingState) -> list[tuple[str, Tensor]]:
    """Return the tensors of model and EMA by name."""
    named = [(f"model.{k}", v) for k, v in _tensors(state.model)]
    if state.ema:
        named += [(f"ema.{k}", v) for k, v in _tensors(state.ema.ema)]
    return named


def _tensors(module: torch.nn.Module) -> list[tuple[str, Tensor]]:
    """Return parameters and buffers of a module by name, without a distillation teacher."""
    return [
        (name, tensor.detach())
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
        if not name.startswith("teacher_model.")
    ]
