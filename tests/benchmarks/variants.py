"""What is compared: stock, this package with more and more switched on, and what people use instead."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stepping import Stepper

from yolo_stability.diagnosis.live import LiveRules
from yolo_stability.trainer.session import WatchedRun

STOCK, AGAIN = "stock", "stock again"
RECORDED, GUARDED, FULL = "recorded", "recorded + guard", "recorded + guard + updates"
OURS = {
    RECORDED: {"guard": "off", "watch_every": 0},
    GUARDED: {"guard": "skip", "watch_every": 0},
    FULL: {"guard": "skip"},  # everything on, as it comes
}  # the rules look on in each of them
FLUSH_SECONDS = 1.0  # the trace's own; see TraceWriter


@dataclass
class Variant:
    """One way to train.

    Attributes:
        name: What the table calls it.
        enter: Swaps it in.
        leave: Swaps it out.
        extra: Called between backward and the optimizer step.
        run: What watches, if this is one of ours.
        peer: It is somebody else's tool; timed more rarely.
        flush_every: Steps after which its trace would be flushed in a run of its own; 0 while unknown.
    """

    name: str
    enter: Callable[[], None]
    leave: Callable[[], None] = field(default=lambda: None)
    extra: Callable[[Any], None] | None = None
    run: WatchedRun | None = None
    peer: bool = False
    flush_every: int = 0
    steps: int = 0
    turn: int = 1
    flushed: bool = False

    def before_turn(self, steps: int) -> None:
        """Let the flush thread work within this turn if it is due by the variant's own time.

        By the clock of the bench it would wake a few times less often than in a run of its own, and would burden
        whichever variant is at work just then.
        """
        self.flushed, self.turn = False, steps
        if self.run and self.flush_every:
            last, self.steps = self.steps, self.steps + steps
            if self.steps // self.flush_every > last // self.flush_every:
                self.flushed = True
                self.run._outputs._writer._wake.set()  # type: ignore[union-attr]

    def label(self, before: int) -> str:
        """Return what was special about the turn just taken; `before` is `snapshot_step` from before it."""
        if self.snapshot_step() != before:
            return "snapshot"
        if self.policy and self.policy._since < self.turn:
            return "rules"
        if self.run and self.run.loop and self.run.loop._sampling.due:
            return "sampled"
        return "flush" if self.flushed else "plain"

    @property
    def policy(self) -> LiveRules | None:
        """The rules that look on, if it is one of ours."""
        findings = self.run._outputs.findings if self.run else None
        policy = findings.policy if findings else None
        assert policy is None or isinstance(policy, LiveRules)
        return policy

    def snapshot_step(self) -> int:
        """Return when the youngest healthy snapshot was taken; -1 without any."""
        healthy = self.run.loop.recovery._healthy if self.run and self.run.loop else None
        return healthy._candidate.step if healthy else -1

    def end_dense_phase(self) -> None:
        """Let the update sampler go over to its usual sampling, and the rules see as much as they ever do."""
        if self.run and self.run.loop:
            self.run.loop._sampling._sampler._left = 0
        if self.policy:
            fill_window(self.policy)


def fill_window(policy: LiveRules, *, every: int = 4) -> None:
    """Give the rules a full window, its last steps over and over, as after hundreds of steps.

    Args:
        policy: The rules of a run.
        every: Steps after which they are asked from here on. More often than in a run, so that there are enough such
            turns to time; what such a turn counts follows from the run's own schedule.
    """
    rows = policy._rows
    assert rows is not None
    known = min(rows._end, 16)
    if known:
        size, last = policy._window, int(rows._columns["step"][rows._end - 1])
        source = rows._end - known + np.arange(size) % known
        for column in rows._columns.values():
            column[:size] = column[source]
        rows._norms[:, :size], rows._bad[:, :size] = rows._norms[:, source], rows._bad[:, source]
        rows._columns["step"][:size] = np.arange(last - size + 1, last + 1)
        rows._end = size
    policy._seen, policy._every = policy._window, every


def make_variants(stepper: Stepper, folder: Path) -> tuple[list[Variant], list[str]]:
    """Return the variants, and a line for each that cannot be had here."""
    variants = [Variant(STOCK, stepper.use_stock), Variant(AGAIN, stepper.use_stock)]
    variants += [_ours(stepper, name, settings) for name, settings in OURS.items()]
    variants.append(
        Variant(".item() per parameter", stepper.use_stock, extra=item_per_parameter, peer=True)
    )
    variants.append(Variant(*lightning_norm(stepper), peer=True))
    wandb = watched_by_wandb(stepper, folder)
    return variants + ([wandb] if wandb else []), (
        [] if wandb else ["wandb.watch: left out, wandb is not installed"]
    )


def _ours(stepper: Stepper, name: str, settings: dict[str, Any]) -> Variant:
    """Return this package at work with the given settings."""
    callbacks, run = stepper.watched(name.replace(" ", "_"), **settings)
    assert run._outputs._writer is not None
    run._outputs._writer._flush_seconds = 3600.0  # `before_turn` wakes it instead
    trainer = stepper.trainer
    from yolo_stability.trainer.trainers import stability_class

    def enter() -> None:
        trainer.__class__, trainer.callbacks = stability_class(stepper.stock_class), callbacks
        trainer.stability = run
        run._clock = (
            time.monotonic()
        )  # of the others' turns it knows nothing: no step of its own took that long

    return Variant(name, enter, stepper.use_stock, run=run)


def item_per_parameter(trainer: Any) -> None:
    """Do what most training scripts do: a norm and a host transfer for each parameter."""
    norms = {
        n: p.grad.norm().item() for n, p in trainer.model.named_parameters() if p.grad is not None
    }
    assert norms


def lightning_norm(stepper: Stepper) -> tuple[Any, ...]:
    """Return name, enter, leave and extra of Lightning's `grad_norm`, or of the same algorithm where it is absent."""
    for package in ("lightning.pytorch", "pytorch_lightning"):
        if importlib.util.find_spec(package.split(".")[0]):
            function = importlib.import_module(f"{package}.utilities").grad_norm
            return (
                "Lightning grad_norm",
                stepper.use_stock,
                stepper.use_stock,
                partial(_on_model, function),
            )
    return (
        "Lightning grad_norm (its algorithm)",
        stepper.use_stock,
        stepper.use_stock,
        norm_as_lightning,
    )


def _on_model(function: Callable[[Any, int], Any], trainer: Any) -> None:
    """Call a function with the model and the order of the norm."""
    function(trainer.model, 2)


def norm_as_lightning(trainer: Any) -> None:
    """Compute what `lightning.pytorch.utilities.grad_norm` returns, in the same way: one norm at a time."""
    norms = {
        f"grad_2.0_norm/{n}": p.grad.norm(2.0)
        for n, p in trainer.model.named_parameters()
        if p.grad is not None
    }
    norms["grad_2.0_norm_total"] = torch.tensor(list(norms.values())).norm(2.0)


def watched_by_wandb(stepper: Stepper, folder: Path) -> Variant | None:
    """Return `wandb.watch(log_freq=1)` without an account (mode offline), or None where wandb is not installed."""
    if not importlib.util.find_spec("wandb"):
        return None
    os.environ.update({"WANDB_SILENT": "true", "WANDB_DIR": str(folder)})
    import wandb

    run = wandb.init(
        mode="offline", project="bench", dir=str(folder), settings=wandb.Settings(console="off")
    )
    model = stepper.trainer.model

    def enter() -> None:
        stepper.use_stock()
        run.watch(model, log="gradients", log_freq=1)

    return Variant(
        "wandb.watch(log_freq=1)",
        enter,
        lambda: run.unwatch(model),
        lambda trainer: run.log({"step": 1}),  # histograms travel with the next log
        peer=True,
    )
