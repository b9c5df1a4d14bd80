"""The live remedies: what each of them does to a training, in place, between two iterations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Protocol

import torch
from torch import nn

from yolo_stability.core.actions import Action
from yolo_stability.guard.training_state import TrainingState
from yolo_stability.interventions.clips import make_clip
from yolo_stability.interventions.learning_rate import scale_learning_rate
from yolo_stability.interventions.switches import Switches
from yolo_stability.trainer.step.warmup import BiasedState, lower_bias_rate

__all__ = ["LiveRemedies", "RemediedState"]

_GROWTH = 10  # an AMP scale that was too large may grow again, this many times as slowly
_FIRST = 0.02  # share of the learning rate with which a new warm-up begins


class RemediedState(TrainingState, BiasedState, Protocol):
    """A training that remedies can change."""

    def fresh_model(self) -> nn.Module:
        """Return a model of the same kind with new weights, as if nobody had changed it."""


class LiveRemedies:
    """What has been changed in one run while it went on.

    Args:
        switches: Those of the run: its clip is one of them.

    Attributes:
        left_out: Names of image files that batches do without.
        amp_cap: Largest AMP scale, and steps after which it may grow; None where it was not lowered.
    """

    def __init__(self, switches: Switches) -> None:
        self.left_out: set[str] = set()
        self._switches = switches
        self._ramp: list[float] = []
        self.amp_cap: tuple[float, int] | None = None

    def apply(self, state: RemediedState, action: Action) -> str:
        """Apply a remedy; return in words what was done.

        Args:
            state: The training, rolled back if the action asks for it.
            action: What to do.
        """
        does: Mapping[str, Callable[[RemediedState, Action], str]] = {
            "lower_rate": self._lower_rate,
            "tighten_clip": self._tighten_clip,
            "rewarm": self._rewarm,
            "lower_scale": self._lower_scale,
            "quarantine": self._quarantine,
            "restart": self._restart,
        }
        return does[action.remedy](state, action)

    def resume(self, state: RemediedState, action: Action, gone: int = 0) -> None:
        """Put back in force what an earlier sitting did; `follow` comes after the last of them.

        A checkpoint may be older than the rescue or younger: what it says of rates is not relied upon. The scheduler
        was built with the rates that were asked for.

        Args:
            state: The resumed training.
            action: What was done.
            gone: Iterations after it that the checkpoint has seen; a new warm-up goes on from there.
        """
        if action.remedy == "lower_rate":
            state.scheduler.base_lrs = [
                rate * float(action.value or 1) for rate in state.scheduler.base_lrs
            ]
        elif action.remedy == "rewarm":
            self._warm_up(state, action, gone)
        elif action.remedy in {"tighten_clip", "quarantine"}:
            self.apply(state, action)

    def follow(self, state: RemediedState, warmup_bias_lr: float | None = None) -> None:
        """Let the optimizer's groups follow the scheduler's rates, after a checkpoint was loaded into them.

        Args:
            state: The training.
            warmup_bias_lr: Rate at which the biases begin a warm-up; None leaves it as it is.
        """
        for group, rate in zip(state.optimizer.param_groups, state.scheduler.base_lrs, strict=True):
            group["initial_lr"] = rate
        if warmup_bias_lr is not None:
            state.warmup_bias_lr = warmup_bias_lr

    def after_rollback(self, state: RemediedState) -> None:
        """Lower the AMP scale once more that a rollback, a recovery or a resume has brought back.

        By its state, for before its first step a scaler takes no new scale.
        """
        if self.amp_cap is not None and state.scaler.is_enabled():
            saved, (scale, interval) = state.scaler.state_dict(), self.amp_cap
            capped = {"scale": min(scale, float(saved["scale"])), "growth_interval": interval}
            state.scaler.load_state_dict({**saved, **capped})

    def after_iteration(self, state: RemediedState) -> None:
        """Let a new warm-up go on by one iteration."""
        if self._ramp:
            _scale_rates(state, self._ramp.pop(0))

    def _lower_rate(self, state: RemediedState, action: Action) -> str:
        """Lower all rates: a lowered `group["lr"]` alone lasts until the next warm-up batch or epoch."""
        factor = float(action.value or 0.1)
        _scale_rates(state, factor)
        lower_bias_rate(state, factor)
        rates = sorted({f"{group['initial_lr']:.3g}" for group in state.optimizer.param_groups})
        return f"learning rate times {factor:.3g}, now {' and '.join(rates)}"

    def _tighten_clip(self, state: RemediedState, action: Action) -> str:
        """Take another clip from the next step on."""
        before, self._switches.clip = str(self._switches.clip), make_clip(str(action.value))
        return f"clip={self._switches.clip} instead of {before}"

    def _rewarm(self, state: RemediedState, action: Action) -> str:
        """Begin with a small part of the rate and give it back in equal steps."""
        return f"the learning rate rises anew over {self._warm_up(state, action)} iterations"

    def _warm_up(self, state: RemediedState, action: Action, gone: int = 0) -> int:
        """Begin a warm-up, or go on with one after some of its iterations; return how many it has."""
        steps = int(float(action.value or 64))
        shares = [_FIRST + (1 - _FIRST) * k / steps for k in range(steps + 1)][min(gone, steps) :]
        _scale_rates(state, shares[0] * math.prod(self._ramp))  # an unfinished one still owed some
        self._ramp = [b / a for a, b in pairwise(shares)]
        return steps

    def _lower_scale(self, state: RemediedState, action: Action) -> str:
        """Lower the loss scale, and let it grow more slowly."""
        scale = float(state.scaler.get_scale()) * float(action.value or 0.0625)
        self.amp_cap = (scale, int(state.scaler.get_growth_interval()) * _GROWTH)
        self.after_rollback(state)
        return f"loss scale {scale:g}, growing {_GROWTH} times as slowly"

    def _quarantine(self, state: RemediedState, action: Action) -> str:
        """Leave images out of every batch from now on."""
        self.left_out |= set(action.images)
        return f"left out from now on: {', '.join(sorted(action.images))}"

    @torch.no_grad()
    def _restart(self, state: RemediedState, action: Action) -> str:
        """Build the model again with the initialisation it would have had, and begin with those weights."""
        model, settings = state.model, self._switches.settings
        fresh = state.fresh_model()
        Switches(settings.model_copy(update={"init": "default"})).edit(fresh, pretrained=False)
        weights = fresh.state_dict()
        model.load_state_dict(weights)
        if state.ema:
            state.ema.ema.load_state_dict(weights)
        state.optimizer.state.clear()
        return f"new weights with init=default instead of init={settings.init}"


def _scale_rates(state: RemediedState, factor: float) -> None:
    """Scale the learning rate wherever it is kept: in the groups, for warm-up and schedule."""
    scale_learning_rate(state.optimizer, factor)
    state.scheduler.base_lrs = [rate * factor for rate in state.scheduler.base_lrs]
