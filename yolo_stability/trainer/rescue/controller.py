"""A rescue in action: asks the policy after each iteration, rolls back, applies the remedy, and watches it work."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import psutil  # type: ignore[import-untyped]

from yolo_stability.compat.ultralytics import Trainer, inner_model
from yolo_stability.config import StabilitySettings
from yolo_stability.core.actions import Action, Ending
from yolo_stability.core.errors import ConfigError, TraceError
from yolo_stability.core.types import Event
from yolo_stability.guard.incidents.batch import mixes_files
from yolo_stability.trace import load_trace
from yolo_stability.trainer.policy import Policy
from yolo_stability.trainer.rescue.remedies import LiveRemedies
from yolo_stability.trainer.step.loop import Watch
from yolo_stability.trainer.step.warmup import given_back

__all__ = ["Rescue", "check_rescue", "require_memory", "state_bytes"]

_WORKED = 32
"""Healthy steps after which a remedy is said to have worked; as many as make a snapshot trusted."""

Emit = Callable[[str, str | None, dict[str, Any]], None]


class Rescue:
    """Carries out what a policy decides, and says so.

    Args:
        watch: The watch, whose healthy states it goes back to.
        policy: Decides.
        remedies: What is changed in the run.
        emit: Takes kind, block and data of an event.
        mode: What the user wrote behind `rescue=`.
    """

    def __init__(
        self, watch: Watch, policy: Policy, remedies: LiveRemedies, emit: Emit, mode: str
    ) -> None:
        self._mode = mode
        self._watch, self._policy, self._remedies, self._emit = watch, policy, remedies, emit
        self._count, self._failed = 0, False
        self._open: tuple[str, int, int] | None = (
            None  # a remedy, its step, and the healthy steps before it
        )

    def resume(self, trainer: Trainer, *, known: bool) -> None:
        """Put back in force what earlier sittings did; the policy learns of it.

        Args:
            trainer: The resumed trainer.
            known: Their trace is there.
        """
        try:
            events = load_trace(trainer.save_dir).events if known else None
        except TraceError:
            events = None
        if events is None:
            self._watch.notice(
                "the earlier sittings have left no trace: their remedies are unknown, and not in force"
            )
            return
        bias, told = None, []
        for kind, step, text in events.select("kind", "step", "data").rows():
            if kind in {"rescue", "resume"}:
                data = json.loads(text)
                told.append((kind, data))
            if kind == "rescue":
                self._take_over(trainer, int(step), data)
                bias = data.get("warmup_bias_lr", bias)
                if data.get("amp_cap"):
                    self._remedies.amp_cap = (float(data["amp_cap"][0]), int(data["amp_cap"][1]))
        self._watch.warmup.back = given_back(told, trainer.start_epoch, len(trainer.train_loader))
        self._remedies.follow(trainer, bias)
        self._remedies.after_rollback(trainer)
        self._watch.begin_anew(
            trainer
        )  # its first state was taken before anybody knew of a warm-up given back

    def recovered(self, trainer: Trainer) -> None:
        """Undo what Ultralytics' own recovery has brought back: the rates of a checkpoint from before a rescue."""
        self._remedies.follow(trainer)
        self._remedies.after_rollback(trainer)

    def _take_over(self, trainer: Trainer, step: int, data: dict[str, Any]) -> None:
        action = Action(
            remedy=data["remedy"],
            cause=data["cause"],
            why=data["why"],
            value=data["value"],
            images=tuple(data["images"]),
            roll_back=data["restored_step"] is not None,
        )
        done = trainer.start_epoch * len(trainer.train_loader)
        self._remedies.resume(trainer, action, max(0, done - int(data.get("iterations", 0))))
        self._policy.event(Event(attempt=self._watch.attempt, step=step, kind="rescue", data=data))
        self._count += 1

    def act(self, trainer: Trainer, *, stepped: bool) -> None:
        """Ask, and act.

        Args:
            trainer: The trainer, between two iterations.
            stepped: An iteration has just ended; at the end of an epoch nothing moves on.
        """
        if stepped:
            self._remedies.after_iteration(trainer)
        decision = self._decision()
        if isinstance(decision, Ending):
            self._watch.end_early(
                trainer,
                "rescue_stop",
                f"rescue={self._mode} ended the run at step {self._watch.step}: {decision.why}. Most likely "
                f"{decision.cause.replace('_', ' ')}; {decision.advice}",
                {"cause": decision.cause, "advice": decision.advice},
            )
        elif decision is not None:
            self._carry_out(trainer, decision)
        elif self._open and self._watch.baseline.healthy - self._open[2] >= _WORKED:
            remedy, since, _ = self._open
            self._open = None
            self._emit("rescued", None, {"remedy": remedy, "since": since})

    def _decision(self) -> Action | Ending | None:
        """Ask the policy; one that fails costs the rescue, never the run."""
        try:
            return None if self._failed else self._policy.decide()
        except Exception as error:
            self._failed = True
            self._watch.notice(
                f"rescue failed and is off for this run: {type(error).__name__}: {error}"
            )
            return None

    def _carry_out(self, trainer: Trainer, action: Action) -> None:
        """Go back, apply the remedy, say what was done and why."""
        restored = self._watch.roll_back(trainer, action.onset) if action.roll_back else None
        self._remedies.after_rollback(trainer)
        try:
            done = self._remedies.apply(trainer, action)
        except Exception as error:
            self._failed = True
            if restored is not None:
                restored = self._watch.roll_back(
                    trainer, None
                )  # a model may have been changed in part
                self._remedies.after_rollback(trainer)
                self._policy.undone(restored)
                self._emit(
                    "rollback", None, {"restored_step": restored, "why": f"{action.remedy} failed"}
                )
            self._watch.notice(
                f"{action.remedy} failed, and the rescue is off: {type(error).__name__}: {error}"
            )
            return
        if action.remedy == "restart":
            self._watch.warmup.return_to(0, self._watch.iteration)  # new weights
            self._watch.begin_anew(trainer)
        self._count += 1
        self._open = (action.remedy, self._watch.step, self._watch.baseline.healthy)
        data = {
            "number": self._count,
            "remedy": action.remedy,
            "value": action.value,
            "cause": action.cause,
            "why": action.why,
            "images": list(action.images),
            "restored_step": restored,
            "done": done,
            "warmup_bias_lr": float(trainer.args.warmup_bias_lr),
            "warmup_back": self._watch.warmup.back,
            "iterations": self._watch.warmup.passed(self._watch.iteration),
            "amp_cap": self._remedies.amp_cap,
        }
        if restored is not None:
            known = [restored, *([] if action.onset is None else [action.onset])]
            self._policy.undone(0 if action.remedy == "restart" else min(known))
        self._emit("rescue", None, data)


def check_rescue(trainer: Trainer, settings: StabilitySettings) -> str | None:
    """Return in words what a rescue costs; None where there will be none. Call it before anything is written.

    Args:
        trainer: The trainer, after its set-up.
        settings: Those in force.

    Raises:
        ConfigError: The remedy that was asked for by name can never act in this run, or memory does not suffice.
    """
    if settings.rescue == "off":
        return None
    why = _never(trainer, settings.rescue)
    if why:
        raise ConfigError(
            f"rescue={settings.rescue} can never act in this run: {why}; rescue=auto has other remedies."
        )
    return require_memory(trainer)


def _never(trainer: Trainer, remedy: str) -> str | None:
    """Return why a remedy can never act in this run; None where it can."""
    arguments = trainer.args
    if remedy == "lower_scale" and not trainer.scaler.is_enabled():
        return f"it lowers the loss scale of AMP, which is off (amp={arguments.amp}, device={trainer.device})"
    if remedy == "restart" and not trainer.resume:
        loaded = (
            arguments.pretrained if isinstance(arguments.pretrained, str) else str(arguments.model)
        )
        if not loaded.endswith((".yaml", ".yml")):
            return f"it begins with new weights, and those of {PurePath(loaded).name} would be lost"
    if remedy == "quarantine":
        if int(trainer.batch_size) == 1:
            return "it leaves an image out of its batch, and batch=1 has no other"
        if arguments.task == "classify":
            return "it leaves out files by name, and the batches of classification name none"
        if mixes_files(trainer, int(trainer.epochs) - 1):
            return "images mixed from several files blame no single one (write mosaic=0, or set close_mosaic=)"
    return None


def state_bytes(trainer: Trainer) -> int:
    """Return what one whole training state takes: parameters, buffers, EMA, and as much again as Adam keeps."""
    model = inner_model(trainer)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    buffers = sum(b.numel() * b.element_size() for b in model.buffers())
    moments = sum(2 * p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    return (2 if trainer.ema else 1) * (weights + buffers) + moments


def require_memory(trainer: Trainer) -> str:
    """Return in words what two training states cost; the guard keeps them, with or without a rescue.

    Args:
        trainer: The trainer, after its set-up; one of the two is kept already.

    Raises:
        ConfigError: The other does not fit into memory.
    """
    each, free = state_bytes(trainer), int(psutil.virtual_memory().available)
    if each > free:
        raise ConfigError(
            f"guard and rescue keep two training states of this model, {each / 1e9:.2g} GB each, and for the second "
            f"{free / 1e9:.2g} GB are free: write guard=off and rescue=off, train a smaller model, or free memory."
        )
    return f"rescue goes back to one of two training states in memory, {2 * each / 1e6:.3g} MB"
