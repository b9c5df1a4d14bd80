"""The live remedies: what each of them does to a trainer, in place, between two iterations."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from itertools import pairwise

import torch

from yolo_stability.compat.ultralytics import Trainer, inner_model
from yolo_stability.core.actions import Action
from yolo_stability.interventions.clips._base import make_clip
from yolo_stability.interventions.learning_rate import scale_learning_rate
from yolo_stability.interventions.switches import Switches
from yolo_stability.trainer.step.warmup import lower_bias_rate

__all__ = ["LiveRemedies"]

_GROWTH = 10  # an AMP scale that was too large may grow again, this many times as slowly
_FIRST = 0.02  # share of the learning rate with which a new warm-up begins


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

    def apply(self, trainer: Trainer, action: Action) -> str:
        """Apply a remedy; return in words what was done.

        Args:
            trainer: The trainer, rolled back if the action asks for it.
            action: What to do.
        """
        does: Mapping[str, Callable[[Trainer, Action], str]] = {
            "lower_rate": self._lower_rate,
            "tighten_clip": self._tighten_clip,
            "rewarm": self._rewarm,
            "lower_scale": self._lower_scale,
            "quarantine": self._quarantine,
            "restart": self._restart,
        }
        return does[action.remedy](trainer, action)

    def resume(self, trainer: Trainer, action: Action, gone: int = 0) -> None:
        """Put back in force what an earlier sitting did; `follow` comes after the last of them.

        A checkpoint may be older than the rescue or younger: what it says of rates is not relied upon. The scheduler
        was built with the rates that were asked for.

        Args:
            trainer: The resumed trainer.
            action: What was done.
            gone: Iterations after it that the checkpoint has seen; a new warm-up goes on from there.
        """
        if action.remedy == "lower_rate":
            trainer.scheduler.base_lrs = [
                rate * float(action.value or 1) for rate in trainer.scheduler.base_lrs
            ]
        elif action.remedy == "rewarm":
            self._warm_up(trainer, action, gone)
        elif action.remedy in {"tighten_clip", "quarantine"}:
            self.apply(trainer, action)

    def follow(self, trainer: Trainer, warmup_bias_lr: float | None = None) -> None:
        """Let the optimizer's groups follow the scheduler's rates, after a checkpoint was loaded into them.

        Args:
            trainer: The trainer.
            warmup_bias_lr: Rate at which the biases begin a warm-up; None leaves it as it is.
        """
        for group, rate in zip(
            trainer.optimizer.param_groups, trainer.scheduler.base_lrs, strict=True
        ):
            group["initial_lr"] = rate
        if warmup_bias_lr is not None:
            trainer.args.warmup_bias_lr = warmup_bias_lr

    def after_rollback(self, trainer: Trainer) -> None:
        """Lower the AMP scale once more that a rollback, a recovery or a resume has brought back.

        By its state, for before its first step a scaler takes no new scale.
        """
        if self.amp_cap is not None and trainer.scaler.is_enabled():
            state, (scale, interval) = trainer.scaler.state_dict(), self.amp_cap
            capped = {"scale": min(scale, float(state["scale"])), "growth_interval": interval}
            trainer.scaler.load_state_dict({**state, **capped})

    def after_iteration(self, trainer: Trainer) -> None:
        """Let a new warm-up go on by one iteration."""
        if self._ramp:
            _scale_rates(trainer, self._ramp.pop(0))

    def _lower_rate(self, trainer: Trainer, action: Action) -> str:
        """Lower all rates: a lowered `group["lr"]` alone lasts until the next warm-up batch or epoch."""
        factor = float(action.value or 0.1)
        _scale_rates(trainer, factor)
        lower_bias_rate(trainer, factor)
        rates = sorted({f"{group['initial_lr']:.3g}" for group in trainer.optimizer.param_groups})
        return f"learning rate times {factor:.3g}, now {' and '.join(rates)}"

    def _tighten_clip(self, trainer: Trainer, action: Action) -> str:
        """Take another clip from the next step on."""
        before, self._switches.clip = str(self._switches.clip), make_clip(str(action.value))
        return f"clip={self._switches.clip} instead of {before}"

    def _rewarm(self, trainer: Trainer, action: Action) -> str:
        """Begin with a small part of the rate and give it back in equal steps."""
        return f"the learning rate rises anew over {self._warm_up(trainer, action)} iterations"

    def _warm_up(self, trainer: Trainer, action: Action, gone: int = 0) -> int:
        """Begin a warm-up, or go on with one after some of its iterations; return how many it has."""
        steps = int(float(action.value or 64))
        shares = [_FIRST + (1 - _FIRST) * k / steps for k in range(steps + 1)][min(gone, steps) :]
        _scale_rates(
            trainer, shares[0] * math.prod(self._ramp)
        )  # an unfinished one still owed some
        self._ramp = [b / a for a, b in pairwise(shares)]
        return steps

    def _lower_scale(self, trainer: Trainer, action: Action) -> str:
        """Lower the loss scale, and let it grow more slowly."""
        scale = float(trainer.scaler.get_scale()) * float(action.value or 0.0625)
        self.amp_cap = (scale, int(trainer.scaler.get_growth_interval()) * _GROWTH)
        self.after_rollback(trainer)
        return f"loss scale {scale:g}, growing {_GROWTH} times as slowly"

    def _quarantine(self, trainer: Trainer, action: Action) -> str:
        """Leave images out of every batch from now on."""
        self.left_out |= set(action.images)
        return f"left out from now on: {', '.join(sorted(action.images))}"

    @torch.no_grad()
    def _restart(self, trainer: Trainer, action: Action) -> str:
        """Build the model again with the initialisation it would have had, and begin with those weights."""
        model, settings = inner_model(trainer), self._switches.settings
        fresh = trainer.build_stock_model(copy.deepcopy(model.yaml))
        Switches(settings.model_copy(update={"init": "default"})).edit(fresh, pretrained=False)
        state = fresh.state_dict()
        model.load_state_dict(state)
        if trainer.ema:
            trainer.ema.ema.load_state_dict(state)
        trainer.optimizer.state.clear()
        return f"new weights with init=default instead of init={settings.init}"


def _scale_rates(trainer: Trainer, factor: float) -> None:
    """Scale the learning rate wherever it is kept: in the groups, for warm-up and schedule."""
    scale_learning_rate(trainer.optimizer, factor)
    trainer.scheduler.base_lrs = [rate * factor for rate in trainer.scheduler.base_lrs]
