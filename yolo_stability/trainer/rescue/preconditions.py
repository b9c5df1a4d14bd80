"""Preconditions of a rescue, and its memory cost."""

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
    """Check that a rescue can act in this run, before anything is written.

    Args:
        state: State of the training, after its setup.
        settings: Effective settings.

    Returns:
        The memory cost as a message; None if the rescue is off.

    Raises:
        ConfigError: The requested remedy can never act in this run, or there is not enough memory.
    """
    if settings.rescue == "off":
        return None
    why = _obstacle(state, settings.rescue)
    if why:
        raise ConfigError(
            f"rescue={settings.rescue} can never act in this run: {why}; "
            "rescue=auto has other remedies."
        )
    return require_memory(state)


def _obstacle(state: RescuedState, remedy: str) -> str | None:
    """Return the reason why a remedy can never act in this run; None if it can."""
    arguments = state.arguments
    if remedy == "lower_scale" and not state.scaler.is_enabled():
        return (
            "it lowers the loss scale of AMP, which is off "
            f"(amp={arguments['amp']}, device={state.device})"
        )
    if remedy == "restart" and not state.resume:
        pretrained = arguments["pretrained"]
        loaded = pretrained if isinstance(pretrained, str) else str(arguments["model"])
        if not loaded.endswith((".yaml", ".yml")):
            return f"it reinitializes the model, which would discard {PurePath(loaded).name}"
    if remedy == "quarantine":
        if state.batch_size == 1:
            return "it excludes an image from its batch, and with batch=1 no image would remain"
        if arguments["task"] == "classify":
            return "it excludes files by name, and classification batches contain no file names"
        if mixes_files(arguments, state.epochs, state.epochs - 1):
            return (
                "training images are mixed from several files, so that no single file can be "
                "identified (set mosaic=0 or close_mosaic=)"
            )
    return None


def state_bytes(state: TrainingState) -> int:
    """Return the size of a training state in bytes.

    It counts parameters, buffers, their EMA, and two moments per trainable parameter as in
    Adam-type optimizers.

    Args:
        state: State of the training.
    """
    model = state.model
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    buffers = sum(b.numel() * b.element_size() for b in model.buffers())
    moments = sum(2 * p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    return (2 if state.ema else 1) * (weights + buffers) + moments


def require_memory(state: TrainingState) -> str:
    """Return the memory cost of two training states as a message.

    The guard keeps both, with or without a rescue.

    Args:
        state: State of the training, after its setup; one of the two states has already been saved.

    Raises:
        ConfigError: The second state does not fit into memory.
    """
    each, free = state_bytes(state), int(psutil.virtual_memory().available)
    if each > free:
        raise ConfigError(
            f"guard and rescue keep two training states of this model, {each / 1e9:.2g} GB each, "
            f"but only {free / 1e9:.2g} GB are free for the second: set guard=off and rescue=off, "
            "train a smaller model, or free memory."
        )
    return f"rescue keeps two training states in memory for rollbacks, {2 * each / 1e6:.3g} MB"
