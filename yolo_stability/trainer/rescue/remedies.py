"""Remedies that change a running training in place, between two iterations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Protocol

import torch
from torch import nn

from yolo_stability.compat.ultralytics import group_names
from yolo_stability.core.actions import Action
from yolo_stability.guard.training_state import TrainingState
from yolo_stability.interventions.clips import make_clip
from yolo_stability.interventions.learning_rate import scale_learning_rate
from yolo_stability.interventions.switches import Switches
from yolo_stability.trainer.step.warmup import BiasedState, lower_bias_rate

__all__ = ["LiveRemedies", "RemediedState"]

_GROWTH = 10  # factor for the growth interval of a lowered AMP scale
_RAISED = 1.5  # a base rate above that multiple of the known one has been raised
_FIRST = 0.02  # fraction of the learning rate at which a new warm-up starts


class RemediedState(TrainingState, BiasedState, Protocol):
    """A training that remedies can change."""

    def fresh_model(self) -> nn.Module:
        """Return a stock model of the same architecture with newly initialized weights."""


class LiveRemedies:
    """Applies remedies to one run and keeps them in force.

    Args:
        switches: Switches of the run, which hold its clip.

    Attributes:
        excluded_images: Names of image files excluded from batches.
        amp_cap: Largest AMP scale and its growth interval in steps; None if the scale was not
            lowered.
    """

    def __init__(self, switches: Switches) -> None:
        self.excluded_images: set[str] = set()
        self._switches = switches
        self._ramp: list[float] = []
        self._base: list[float] = []
        self.amp_cap: tuple[float, int] | None = None

    def know_rates(self, state: RemediedState) -> None:
        """Keep the scheduler's base rates, to restore them after a leap.

        Args:
            state: State of the training.
        """
        self._base = list(state.scheduler.base_lrs)

    def apply(self, state: RemediedState, action: Action) -> str:
        """Apply a remedy.

        Args:
            state: State of the training, already rolled back if the action requires it.
            action: Action to carry out.

        Returns:
            Description of the change for the log.
        """
        remedies: Mapping[str, Callable[[RemediedState, Action], str]] = {
            "lower_rate": self._lower_rate,
            "tighten_clip": self._tighten_clip,
            "rewarm": self._rewarm,
            "lower_scale": self._lower_scale,
            "quarantine": self._quarantine,
            "restart": self._restart,
        }
        return remedies[action.remedy](state, action)

    def resume(self, state: RemediedState, action: Action, gone: int = 0) -> None:
        """Restore a remedy of an earlier session; call `follow` after the last of them.

        The checkpoint may be older or newer than the rescue, so its learning rates are not used.
        The scheduler was built with the requested rates.

        Args:
            state: State of the resumed training.
            action: Action of the earlier session.
            gone: Iterations between the action and the checkpoint; a new warm-up continues from
                there.
        """
        if action.remedy == "lower_rate" and not action.groups:  # a new session has its own rates
            state.scheduler.base_lrs = [
                rate * float(action.value or 1) for rate in state.scheduler.base_lrs
            ]
        elif action.remedy == "rewarm":
            self._warm_up(state, action, gone)
        elif action.remedy in {"tighten_clip", "quarantine"}:
            self.apply(state, action)

    def follow(self, state: RemediedState, warmup_bias_lr: float | None = None) -> None:
        """Copy the scheduler's base rates to the optimizer after a checkpoint was loaded.

        Args:
            state: State of the training.
            warmup_bias_lr: Learning rate of the biases at the start of a warm-up; None keeps the
                current one.
        """
        for group, rate in zip(state.optimizer.param_groups, state.scheduler.base_lrs, strict=True):
            group["initial_lr"] = rate
        if warmup_bias_lr is not None:
            state.warmup_bias_lr = warmup_bias_lr

    def after_rollback(self, state: RemediedState) -> None:
        """Lower the AMP scale again after a rollback, recovery or resume has restored a larger one.

        This goes through the scaler's state, because a scaler rejects a new scale before its first
        step.

        Args:
            state: State of the training.
        """
        if self.amp_cap is not None and state.scaler.is_enabled():
            saved, (scale, interval) = state.scaler.state_dict(), self.amp_cap
            capped = {"scale": min(scale, float(saved["scale"])), "growth_interval": interval}
            state.scaler.load_state_dict({**saved, **capped})

    def after_iteration(self, state: RemediedState) -> None:
        """Advance a new warm-up by one iteration."""
        if self._ramp:
            _scale_rates(state, self._ramp.pop(0))

    def _lower_rate(self, state: RemediedState, action: Action) -> str:
        """Lower all learning rates.

        Changing `group["lr"]` alone would last only until the next warm-up batch or epoch.
        """
        factor = float(action.value or 0.1)
        if action.groups:
            return self._restore_rates(state, factor, action.groups)
        _scale_rates(state, factor)
        self.know_rates(state)
        lower_bias_rate(state, factor)
        rates = sorted({f"{group['initial_lr']:.3g}" for group in state.optimizer.param_groups})
        return f"learning rate multiplied by {factor:.3g}, now {' and '.join(rates)}"

    def _restore_rates(self, state: RemediedState, factor: float, groups: tuple[str, ...]) -> str:
        """Undo the leap of some groups wherever their rates are kept.

        A base rate that was raised returns to its known value; one that was not is left alone,
        unless the schedule itself multiplies it.
        """
        if not self._base:
            self.know_rates(state)
        shares = _schedule_shares(state)
        for i, group in enumerate(state.optimizer.param_groups):
            base, known = state.scheduler.base_lrs[i], self._base[i]
            if group_names(state.optimizer)[i] not in groups:
                # in the warm-up a raised base rate shows later, above all in the biases
                if max(base, group["initial_lr"]) > _RAISED * known:
                    state.scheduler.base_lrs[i] = group["initial_lr"] = known
                continue
            # the schedule calls for the rate although its base rate is the known one
            scheduled = base < _RAISED * known and base * shares[i] * _RAISED > group["lr"]
            restored = known * factor if scheduled else min(base, known)
            state.scheduler.base_lrs[i] = self._base[i] = restored
            group["initial_lr"], group["lr"] = restored, group["lr"] * factor
        return (
            f"learning rate of {' and '.join(groups)} multiplied by {factor:.3g}, as it was before "
            "it leapt"
        )

    def _tighten_clip(self, state: RemediedState, action: Action) -> str:
        """Replace the clip from the next step on."""
        before, self._switches.clip = str(self._switches.clip), make_clip(str(action.value))
        return f"clip={self._switches.clip} instead of {before}"

    def _rewarm(self, state: RemediedState, action: Action) -> str:
        """Start from a small fraction of the learning rate and raise it in equal steps."""
        return f"new learning-rate warm-up over {self._warm_up(state, action)} iterations"

    def _warm_up(self, state: RemediedState, action: Action, gone: int = 0) -> int:
        """Start a warm-up, or continue one after `gone` iterations; return its total length."""
        steps = int(float(action.value or 64))
        shares = [_FIRST + (1 - _FIRST) * k / steps for k in range(steps + 1)][min(gone, steps) :]
        # The product is the remaining increase of an unfinished warm-up.
        _scale_rates(state, shares[0] * math.prod(self._ramp))
        self._ramp = [b / a for a, b in pairwise(shares)]
        return steps

    def _lower_scale(self, state: RemediedState, action: Action) -> str:
        """Lower the loss scale and slow down its growth."""
        scale = float(state.scaler.get_scale()) * float(action.value or 0.0625)
        self.amp_cap = (scale, int(state.scaler.get_growth_interval()) * _GROWTH)
        self.after_rollback(state)
        return f"loss scale lowered to {scale:g}, its growth slowed by a factor of {_GROWTH}"

    def _quarantine(self, state: RemediedState, action: Action) -> str:
        """Exclude images from every batch from now on."""
        self.excluded_images |= set(action.images)
        return f"excluded from all further batches: {', '.join(sorted(action.images))}"

    @torch.no_grad()
    def _restart(self, state: RemediedState, action: Action) -> str:
        """Rebuild the model with the default initialization and start from those weights."""
        model, settings = state.model, self._switches.settings
        fresh = state.fresh_model()
        Switches(settings.model_copy(update={"init": "default"})).edit(fresh, pretrained=False)
        weights = fresh.state_dict()
        model.load_state_dict(weights)
        if state.ema:
            state.ema.ema.load_state_dict(weights)
        state.optimizer.state.clear()
        return f"new weights with init=default instead of init={settings.init}"


def _schedule_shares(state: RemediedState) -> list[float]:
    """Return the factor that the schedule applies to the base rate of each group; 0 if unknown."""
    scheduler = state.scheduler
    now = getattr(scheduler, "last_epoch", None)
    shares = getattr(scheduler, "lr_lambdas", None)
    if shares is None or now is None:
        return [0.0] * len(state.optimizer.param_groups)
    return [float(share(now)) for share in shares]


def _scale_rates(state: RemediedState, factor: float) -> None:
    """Scale the learning rate in the parameter groups and in the scheduler."""
    scale_learning_rate(state.optimizer, factor)
    state.scheduler.base_lrs = [rate * factor for rate in state.scheduler.base_lrs]
