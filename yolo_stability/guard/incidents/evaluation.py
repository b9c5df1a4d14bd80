"""Validation losses that are not finite: the module that fails in evaluation mode.

The search runs on a copy of the validated model with forked random generators, so that it does not
affect the training.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import torch
from torch import nn

from yolo_stability.compat.ultralytics import LOGGER
from yolo_stability.core.errors import printable
from yolo_stability.guard.incidents.localize import Place, block_of, run_evaluation
from yolo_stability.guard.incidents.ranges import weights_finite
from yolo_stability.guard.incidents.window import forked_random_state

__all__ = ["EvaluationCheck", "ValidatedRun"]

_SECONDS = 10.0

Emit = Callable[[str, str | None, dict[str, Any]], None]


class ValidatedRun(Protocol):
    """The parts of a training that a validation uses."""

    @property
    def device(self) -> torch.device:
        """Device of this process."""

    @property
    def epoch(self) -> int:
        """The current epoch, counted from 0."""

    @property
    def validated_model(self) -> nn.Module:
        """The model that was validated: the average of the weights if there is one."""

    @property
    def validation_precision(self) -> torch.dtype | None:
        """Precision of the forward in validation; None for single precision."""

    def validation_batches(self) -> Iterable[dict[str, Any]]:
        """Yield validation batches as the validator passes them to the model."""


class EvaluationCheck:
    """Explains the first validation of a session whose losses are not finite.

    Args:
        emit: Receives kind, block and data of an event.
        enabled: Whether to examine anything.
    """

    def __init__(self, emit: Emit, *, enabled: bool) -> None:
        self._emit, self._pending = emit, enabled

    def after_validation(self, run: ValidatedRun, metrics: Mapping[str, Any]) -> None:
        """Examine the validated model if its losses are not finite; a failure costs nothing else.

        Args:
            run: The training.
            metrics: Results of the validation by column of `results.csv`.
        """
        columns = [name for name, value in metrics.items() if _is_bad_loss(name, value)]
        if not columns or not self._pending:
            return
        self._pending = False
        try:
            with forked_random_state(run.device):
                block, found = _examined(run)
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else "no text"
            text = f"the search for the module failed ({type(error).__name__}: {reason})"
            block, found = None, {"reproduced": False, "text": text}
        self._emit("evaluation", block, {"epoch": int(run.epoch), "columns": columns, **found})
        lead = f"{columns[0]} is not finite in epoch {run.epoch + 1}"
        LOGGER.warning(f"stability: {lead}: {printable(str(found['text']))}")


def _is_bad_loss(name: str, value: Any) -> bool:
    return name.startswith("val/") and not math.isfinite(float(value))


def _examined(run: ValidatedRun) -> tuple[str | None, dict[str, Any]]:
    """Return the block that fails, and the data of the event."""
    model = run.validated_model
    if not weights_finite(model):
        block = _bad_block(model)
        text = f"the validated weights or statistics of {block} are not finite"
        return block, {"reproduced": True, "weights_finite": False, "text": text}
    twin = copy.deepcopy(model).float().eval()
    precision, deadline, seen = run.validation_precision, time.monotonic() + _SECONDS, 0
    for batch in run.validation_batches():
        seen += len(batch["img"])
        place = run_evaluation(twin, batch, autocast=precision)
        if place is not None:
            single = {**batch, "img": batch["img"].float()}
            half = precision is not None and run_evaluation(twin, single, autocast=None) is None
            return _reported(place, half=half)
        if time.monotonic() > deadline:
            break
    text = f"every module is finite in evaluation mode on {seen} validation images"
    return None, {"reproduced": False, "weights_finite": True, "text": text}


def _reported(place: Place, *, half: bool) -> tuple[str | None, dict[str, Any]]:
    """Return the block of a place, and the data of the event."""
    mode = "half precision" if half else "evaluation mode"
    what = "the loss" if place.phase == "loss" else "the first module"
    return place.block, {
        "reproduced": True,
        "weights_finite": True,
        "layer": place.layer,
        "phase": place.phase,
        "only_in_half": half,
        "custom": place.custom,
        "text": f"{what} that is not finite in {mode} is {place.block}",
    }


def _bad_block(model: nn.Module) -> str:
    """Return the block of the first parameter or statistic that is not finite."""
    name = next(n for n, t in model.state_dict().items() if not bool(torch.isfinite(t).all()))
    return block_of(model, name.rpartition(".")[0])
