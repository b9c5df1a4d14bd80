"""Whether a rescue can act in a run at all, and what it costs."""

from __future__ import annotations

from pathlib import PurePath

import psutil  # type: ignore[import-untyped]

from yolo_stability.config import StabilitySettings
from yolo_stability.core.errors import ConfigError
from yolo_stability.guard.incidents.batch import mixes_files
from yolo_stability.guard.training_state import TrainingState
from yolo_stability.trainer.rescue.controller import RescuedState

__all__ = ["check_rescue", "require_memory", "state_bytes"]


def check_rescue(state: RescuedState, settings: StabilitySettings) -> str | None:
    """Return in words what a rescue costs; None where there will be none. Call it before anything is written.

    Args:
        state: The training, after its set-up.
        settings: Those in force.

    Raises:
        ConfigError: The remedy that was asked for by name can never act in this run, or memory does not suffice.
    """
    if settings.rescue == "off":
        return None
    why = _never(state, settings.rescue)
    if why:
        raise ConfigError(
            f"rescue={settings.rescue} can never act in this run: {why}; rescue=auto has other remedies."
        )
    return require_memory(state)


def _never(state: RescuedState, remedy: str) -> str | None:
    """Return why a remedy can never act in this run; None where it can."""
    arguments = state.arguments
    if remedy == "lower_scale" and not state.scaler.is_enabled():
        return f"it lowers the loss scale of AMP, which is off (amp={arguments['amp']}, device={state.device})"
    if remedy == "restart" and not state.resume:
        pretrained = arguments["pretrained"]
        loaded = pretrained if isinstance(pretrained, str) else str(arguments["model"])
        if not loaded.endswith((".yaml", ".yml")):
            return f"it begins with new weights, and those of {PurePath(loaded).name} would be lost"
    if remedy == "quarantine":
        if state.batch_size == 1:
            return "it leaves an image out of its batch, and batch=1 has no other"
        if arguments["task"] == "classify":
            return "it leaves out files by name, and the batches of classification name none"
        if mixes_files(arguments, state.epochs, state.epochs - 1):
            return "images mixed from several files blame no single one (write mosaic=0, or set close_mosaic=)"
    return None


def state_bytes(state: TrainingState) -> int:
    """Return what one whole training state takes: parameters, buffers, EMA, and as much again as Adam keeps."""
    model = state.model
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    buffers = sum(b.numel() * b.element_size() for b in model.buffers())
    moments = sum(2 * p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    return (2 if state.ema else 1) * (weights + buffers) + moments


def require_memory(state: TrainingState) -> str:
    """Return in words what two training states cost; the guard keeps them, with or without a rescue.

    Args:
        state: The training, after its set-up; one of the two is kept already.

    Raises:
        ConfigError: The other does not fit into memory.
    """
    each, free = state_bytes(state), int(psutil.virtual_memory().available)
    if each > free:
        raise ConfigError(
            f"guard and rescue keep two training states of this model, {each / 1e9:.2g} GB each, and for the second "
            f"{free / 1e9:.2g} GB are free: write guard=off and rescue=off, train a smaller model, or free memory."
        )
    return f"rescue goes back to one of two training states in memory, {2 * each / 1e6:.3g} MB"
