"""Deliberate damage at a named moment, for demonstrations and tests of the guard.

A fault changes what the trainer computes from, never what the package reports.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from yolo_stability.errors import ConfigError, nearest
from yolo_stability.integration.compat import Trainer, inner_model, map_loss

__all__ = ["FAULT_KINDS", "Fault", "parse_fault"]

FaultKind = Literal["nan_grad", "inf_pixel", "nan_loss"]
FAULT_KINDS: dict[str, str] = {
    "nan_grad": "one element of one gradient is NaN at optimizer step N",
    "inf_pixel": "one pixel of one image is inf at iteration N",
    "nan_loss": "the loss is NaN at iteration N",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of damage and when it strikes.

    Attributes:
        kind: See `FAULT_KINDS`.
        at: Optimizer step (nan_grad) or iteration (others), counted from 0; several are allowed.
    """

    kind: str
    at: frozenset[int]

    def on_batch(self, batch: dict[str, Tensor], iteration: int) -> None:
        """Damage a preprocessed batch.

        Args:
            batch: Its `img` holds floats in [0, 1], shape (batch, channels, height, width).
            iteration: Iterations begun before this one.
        """
        if self.kind == "inf_pixel" and iteration in self.at:
            batch["img"][0, 0, 0, 0] = torch.inf

    def before_forward(self, trainer: Trainer, iteration: int) -> None:
        """Arrange that the coming forward returns NaN losses.

        A forward hook that removes itself: one that stayed would travel into the EMA and the checkpoint.

        Args:
            trainer: The trainer.
            iteration: Iterations begun before this one.
        """
        if self.kind != "nan_loss" or iteration not in self.at:
            return

        def poison(module: nn.Module, inputs: Any, output: tuple[Tensor, Any]) -> tuple[Tensor, Any]:
            handle.remove()
            loss, items = output
            return loss * torch.nan, map_loss(items, lambda v: v * torch.nan)

        handle = trainer.model.register_forward_hook(poison)

    def on_gradients(self, trainer: Trainer, step: int) -> None:
        """Damage a gradient before anybody looks at it.

        Args:
            trainer: The trainer, gradients accumulated and still scaled.
            step: The optimizer step about to happen.
        """
        if self.kind != "nan_grad" or step not in self.at:
            return
        grads = [p.grad for p in inner_model(trainer).parameters() if p.grad is not None]
        grads[len(grads) // 2].view(-1)[0] = torch.nan


def parse_fault(text: str | None) -> Fault | None:
    """Read a fault such as `nan_grad@3` or `nan_loss@5,9`.

    Args:
        text: KIND@N or KIND@N,N,...; None for no fault.

    Raises:
        ConfigError: The text names no fault or no moment.
    """
    if text is None:
        return None
    kind, _, moments = str(text).strip().partition("@")
    if kind not in FAULT_KINDS:
        raise ConfigError(
            f"fault={text}: '{kind}' is no fault.{nearest(kind, FAULT_KINDS)} "
            f"Choose from {', '.join(FAULT_KINDS)}, each as KIND@N."
        )
    if not re.fullmatch(r"\d+(,\d+)*", moments):
        raise ConfigError(f"fault={text}: say when as {kind}@N with N counted from 0 ({FAULT_KINDS[kind]}).")
    return Fault(kind, frozenset(int(n) for n in moments.split(",")))
