"""Measures the outputs and output gradients of blocks with temporary hooks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from yolo_stability.core.types import BlockSpec
from yolo_stability.studies.probe.result import BlockFlow

__all__ = ["FlowHooks", "modules_of"]


def modules_of(model: nn.Module, block: BlockSpec) -> Iterator[nn.Module]:
    """Yield the modules that produce the outputs of a block; a module list has no forward pass."""
    path = block.name.split(" ")[0]
    try:
        module = model.get_submodule(path)
    except AttributeError:  # a parameter of a container or of the model itself
        return
    yield from module if isinstance(module, nn.ModuleList) else (module,)


class FlowHooks:
    """Accumulates statistics of one block in float64, to avoid overflow."""

    def __init__(self) -> None:
        self._count = 0
        self._sum = self._squares = 0.0
        self._gradient: float | None = None

    def forward(self, module: nn.Module, args: Any, output: Any) -> None:
        """Accumulate an output and register a hook for its gradient."""
        for tensor in _tensors(output):
            values = tensor.detach().cpu().double()
            self._count += values.numel()
            self._sum += float(values.sum())
            self._squares += float(values.square().sum())
            if tensor.requires_grad:
                tensor.register_hook(self._backward)  # type: ignore[no-untyped-call]

    def finished(self, block: BlockSpec, grad_norm: float | None) -> BlockFlow:
        """Return the statistics of the block.

        Args:
            block: The block.
            grad_norm: Norm of the gradient of its weights.
        """
        mean = self._sum / self._count if self._count else 0.0
        square = self._squares / self._count if self._count else 0.0
        return BlockFlow(
            name=block.name,
            role=block.role,
            grad_norm=grad_norm,
            output_grad_norm=None if self._gradient is None else float(np.sqrt(self._gradient)),
            activation_rms=float(np.sqrt(square)) if self._count else None,
            activation_std=float(np.sqrt(np.maximum(square - mean**2, 0.0)))
            if self._count
            else None,
        )

    def _backward(self, gradient: Tensor) -> None:
        norm_squared = float(gradient.detach().cpu().double().square().sum())
        self._gradient = norm_squared + (self._gradient or 0.0)


def _tensors(output: Any) -> Iterator[Tensor]:
    """Yield the floating-point tensors in the output of a module."""
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output
    elif isinstance(output, Mapping):
        yield from (tensor for value in output.values() for tensor in _tensors(value))
    elif isinstance(output, list | tuple):
        yield from (tensor for value in output for tensor in _tensors(value))
