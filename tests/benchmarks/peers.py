"""What people use instead; each needs its package (`peers=FOLDER`), and has a trainer of its own.

    python -m pip install --target FOLDER wandb fsspec
    python -m pip install --target FOLDER --no-deps pytorch-lightning lightning-utilities torchmetrics \\
        arc-training==5.2.0.post1 stabilityguard==0.3.0 traintools==0.6.2
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from variants import Maker, Variant


def peers(maker: Maker) -> tuple[list[Variant], list[str]]:
    """Return the peers that run here, and a line for each that does not."""
    found, missing = [], []
    for name, (package, make) in PEERS.items():
        try:
            label = f"{name} ({package} {version(package)})" if package else name
            found.append(make(maker, label))
        except Exception as error:
            missing.append(f"{name}: not measured, {type(error).__name__}: {error}")
    return found, missing


def item_per_parameter(maker: Maker, name: str) -> Variant:
    """Return what most training scripts do: a norm and a host transfer for each parameter."""

    def read(trainer: Any) -> None:
        named = trainer.model.named_parameters()
        assert {n: p.grad.norm().item() for n, p in named if p.grad is not None}

    return Variant(name, maker.stepper(name), read, guest=True)


def lightning(maker: Maker, name: str) -> Variant:
    """Return Lightning's `grad_norm` of every parameter."""
    grad_norm = importlib.import_module("pytorch_lightning.utilities").grad_norm

    def read(trainer: Any) -> None:
        assert grad_norm(trainer.model, 2)

    return Variant(name, maker.stepper(name), read, guest=True)


def wandb_watch(maker: Maker, name: str) -> Variant:
    """Return `wandb.watch(log_freq=1)` without an account (mode offline)."""
    wandb = importlib.import_module("wandb")
    os.environ.update({"WANDB_SILENT": "true", "WANDB_DIR": str(maker.folder)})
    quiet = wandb.Settings(console="off")
    run = wandb.init(mode="offline", project="bench", dir=str(maker.folder), settings=quiet)
    stepper = maker.stepper(name)
    run.watch(stepper.trainer.model, log="gradients", log_freq=1)
    # The histograms travel with the next log.
    return Variant(
        name, stepper, lambda trainer: run.log({"step": 1}), guest=True, close=run.finish
    )


def arc(maker: Maker, name: str) -> Variant:
    """Return arc-training's `Controller`, called after backward as its README has it."""
    module = importlib.import_module("arc")
    stepper = maker.stepper(name)
    controller = module.Controller(stepper.trainer.model, stepper.trainer.optimizer, verbose=False)

    def read(trainer: Any) -> None:
        controller.step(trainer.loss)

    def trouble() -> list[str]:
        count = controller.total_rollbacks
        return [f"{name}: rolled back {count} times on a healthy run"] if count else []

    # Its Lyapunov check, its weight check and its checkpoint.
    rare = (20, 10, 5)
    return Variant(
        name, stepper, read, guest=True, cycles=rare, close=controller.close, trouble=trouble
    )


def stabilityguard(maker: Maker, name: str) -> Variant:
    """Return stabilityguard's `GuardedOptimizer` around stock's optimizer."""
    module = importlib.import_module("stabilityguard")
    stepper = maker.stepper(name)
    trainer, reports = stepper.trainer, str(stepper.save_dir / "reports")
    trainer.optimizer = module.GuardedOptimizer(
        trainer.optimizer, trainer.model, verbose=False, log_dir=reports
    )
    optimizer = trainer.optimizer

    def trouble() -> list[str]:
        count = optimizer.total_skips
        return [f"{name}: skipped {count} steps of a healthy run"] if count else []

    return Variant(name, stepper, guest=True, close=optimizer.close, trouble=trouble)


def traintools(maker: Maker, name: str) -> Variant:
    """Return traintools' `GradientHealthMonitor`."""
    monitor = importlib.import_module("traintools").GradientHealthMonitor(max_grad_norm=10.0)

    def read(trainer: Any) -> None:
        monitor.inspect(trainer.model, lr=trainer.optimizer.param_groups[0]["lr"])

    return Variant(name, maker.stepper(name), read, guest=True)


PEERS: dict[str, tuple[str, Callable[[Maker, str], Variant]]] = {
    ".item() per parameter": ("", item_per_parameter),
    "Lightning grad_norm": ("pytorch-lightning", lightning),
    "wandb.watch(log_freq=1)": ("wandb", wandb_watch),
    "arc Controller": ("arc-training", arc),
    "GuardedOptimizer": ("stabilityguard", stabilityguard),
    "GradientHealthMonitor": ("traintools", traintools),
}
"""Peers by name: the package on PyPI, and what makes the variant."""
