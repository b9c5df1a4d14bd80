"""Components of a custom training loop: model, optimizer, scaler, their gradients and settings."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from yolo_stability.core.errors import ConfigError
from yolo_stability.core.provenance import config_digest, package_versions
from yolo_stability.core.types import RunHeader
from yolo_stability.gradients.blocks import model_blocks
from yolo_stability.gradients.norms import (
    BlockIndex,
    count_nonfinite,
    tensor_norms,
    to_host,
    total_norm,
    without_overflow,
)
from yolo_stability.gradients.optimizers import momentum
from yolo_stability.trace import SCHEMA_VERSION

__all__ = ["LoopParts", "LoopReading", "describe_loop"]

_NOTHING = torch.zeros(0)
_WRAPPERS = {
    "DistributedDataParallel": "module",
    "DataParallel": "module",
    "OptimizedModule": "_orig_mod",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopReading:
    """Gradient of one step, measured by `r.step()` or, without it, by the optimizer's hook.

    Attributes:
        loss: Loss given by the caller; None if none was given.
        loss_items: Components of the loss by name.
        amp_scale: Loss scale; None without a scaler.
        grad_norm: Total L2 norm, unscaled; None without any gradient.
        block_norms: L2 norm per block, unscaled; None for a block without a gradient.
        block_nonfinite: Number of NaN and Inf elements per block.
        transferred: Vectors of an earlier step that were transferred along with it.
    """

    loss: float | None
    loss_items: dict[str, float]
    amp_scale: float | None
    grad_norm: float | None
    block_norms: list[float | None]
    block_nonfinite: list[int]
    transferred: tuple[NDArray[np.float64], ...]

    @property
    def nonfinite(self) -> int:
        """Number of elements that are NaN or Inf."""
        return sum(self.block_nonfinite)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopParts:
    """Model, optimizer and scaler of one loop, validated; built by `LoopParts.of`.

    Attributes:
        model: The model without wrappers.
        optimizer: The optimizer.
        scaler: The gradient scaler; None if it is disabled.
        index: Parameters of the model and their blocks.
        note: Notice for the user before the loop starts.
    """

    model: nn.Module
    optimizer: Optimizer
    scaler: torch.amp.GradScaler | None
    index: BlockIndex
    note: str | None

    @classmethod
    def of(
        cls, model: nn.Module, optimizer: Optimizer, scaler: torch.amp.GradScaler | None = None
    ) -> Self:
        """Check that model, optimizer and scaler belong together.

        Raises:
            ConfigError: An argument has the wrong type, no parameter is trainable, or the optimizer
                trains another model.
        """
        if not isinstance(model, nn.Module):
            raise ConfigError(
                f"record() expects a torch.nn.Module as model, not {type(model).__name__}."
            )
        if not isinstance(optimizer, Optimizer):
            raise ConfigError(
                f"record() expects a torch.optim.Optimizer, not {type(optimizer).__name__}: "
                "pass the optimizer that it wraps."
            )
        while type(model).__name__ in _WRAPPERS:
            model = getattr(model, _WRAPPERS[type(model).__name__])
        index = BlockIndex.of(model, model_blocks(model))
        trainable = {id(p) for p in index.params if p.requires_grad}
        if not trainable:
            raise ConfigError(
                "No parameter of the model requires a gradient, so there is nothing to record."
            )
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if not trainable & held:
            raise ConfigError(
                "The optimizer holds no parameter of this model: create it from model.parameters() "
                "after the last change to the model."
            )
        devices = sorted({str(p.device) for p in index.params})
        if len(devices) > 1:
            raise ConfigError(
                f"The model is on {' and '.join(devices)}: record() supports models on one device."
            )
        outside = len(held - {id(p) for p in index.params})
        note = (
            f"{outside} optimizer tensor(s) do not belong to the model and are not recorded"
            if outside
            else None
        )
        enabled = scaler if scaler is not None and scaler.is_enabled() else None
        return cls(model=model, optimizer=optimizer, scaler=enabled, index=index, note=note)

    @property
    def writes(self) -> bool:
        """Whether this process writes the trace: only rank 0 of a distributed training does."""
        distributed = torch.distributed
        return not (
            distributed.is_available()
            and distributed.is_initialized()
            and distributed.get_rank() != 0
        )

    def gradients(self) -> tuple[list[Tensor], NDArray[np.int64]]:
        """Return the existing gradients (values of sparse ones) and their block positions."""
        grads, positions = self.index.with_gradient()
        if any(g.is_sparse for g in grads):
            grads = [g.coalesce().values() if g.is_sparse else g for g in grads]
        return grads, positions

    @torch.no_grad()
    def clipped_total(self) -> Tensor:
        """Return the total norm of the gradient that the optimizer uses, shape (1,) or empty."""
        grads, _ = self.gradients()
        if not grads:
            return _NOTHING
        total = total_norm(grads, tensor_norms(grads)).reshape(1)
        scale = getattr(self.optimizer, "grad_scale", None)  # a fused optimizer unscales by itself
        return total / scale.to(total.device) if isinstance(scale, Tensor) else total

    @torch.no_grad()
    def read(
        self,
        loss: Tensor | float | None,
        items: Mapping[str, Tensor | float],
        along: tuple[Tensor, ...],
        *,
        in_step: bool,
    ) -> LoopReading:
        """Measure the gradients with one transfer to the host.

        Args:
            loss: Loss to transfer along.
            items: Components of the loss to transfer along.
            along: Vectors of an earlier step to transfer along.
            in_step: Whether the optimizer's step has begun.
        """
        grads, positions = self.gradients()
        norms = tensor_norms(grads)
        losses = [*([] if loss is None else [loss]), *items.values()]
        host, host_total, host_losses, host_scale, *transferred = to_host(
            norms,
            total_norm(grads, norms) if grads else _NOTHING,
            _vector(losses, norms.device),
            self._scale().to(norms.device),
            *along,
        )
        counts = np.zeros(len(grads), dtype=np.int64)
        if not np.isfinite(host_total).all():
            counts = count_nonfinite(grads)
            host = without_overflow(grads, host, counts)
            if not counts.any():
                host_total = np.sqrt((host**2).sum(keepdims=True))
        scale = float(host_scale[0]) if len(host_scale) else None
        divisor = 1.0 if scale is None or self._is_unscaled(in_step=in_step) else scale
        values = [float(v) for v in host_losses]
        return LoopReading(
            loss=None if loss is None else values[0],
            loss_items=dict(zip(items, values[len(values) - len(items) :], strict=True)),
            amp_scale=scale,
            grad_norm=float(host_total[0]) / divisor if len(host_total) else None,
            block_norms=self.index.combine(host / divisor, positions),
            block_nonfinite=self.index.sum_counts(counts, positions),
            transferred=tuple(transferred),
        )

    def rates(self) -> dict[str, float]:
        """Return the current learning rate of each parameter group."""
        return {f"pg{i}": float(group["lr"]) for i, group in enumerate(self.optimizer.param_groups)}

    def skips_inside(self) -> bool:
        """Return whether a fused optimizer skips an overflow itself; true only inside its step."""
        return self.scaler is not None and getattr(self.optimizer, "found_inf", None) is not None

    def _scale(self) -> Tensor:
        """Return the loss scale, shape (1,) or empty; `get_scale()` would synchronize."""
        if self.scaler is None:
            return _NOTHING
        scale = getattr(self.scaler, "_scale", None)
        return (
            scale.reshape(1)
            if isinstance(scale, Tensor)
            else torch.tensor([float(self.scaler.get_scale())])
        )

    def _is_unscaled(self, *, in_step: bool) -> bool:
        """Return whether the gradients have been divided by the loss scale.

        At its step the scaler has unscaled them, unless a fused optimizer does so. Before it, this
        depends on whether `scaler.unscale_` was called, which only the scaler's own state records.
        """
        if in_step:
            return not isinstance(getattr(self.optimizer, "grad_scale", None), Tensor)
        states: Mapping[int, Mapping[str, Any]] = getattr(self.scaler, "_per_optimizer_states", {})
        stage = states[id(self.optimizer)].get("stage") if id(self.optimizer) in states else None
        return getattr(stage, "name", "") == "UNSCALED"


def describe_loop(parts: LoopParts, config: Mapping[str, Any]) -> RunHeader:
    """Return the run header of a loop.

    Args:
        parts: Components of the loop.
        config: Settings that the user wants to store.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> parts = LoopParts.of(model, torch.optim.SGD(model.parameters(), lr=0.1))
        >>> header = describe_loop(parts, {"seed": 3})
        >>> header.seed, header.effective["optimizer"], header.effective["parameters"]
        (3, 'SGD', 3)
    """
    seed = config.get("seed")
    return RunHeader(
        schema_version=SCHEMA_VERSION,
        run_id=uuid.uuid4().hex[:12],
        config_digest=config_digest(config),
        seed=seed if isinstance(seed, int) else None,
        requested=dict(config),
        effective=_effective(parts),
        versions=package_versions(),
        device=_device(parts.index.params[0].device),
        dataset_digest=None,
        blocks=parts.index.blocks,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _effective(parts: LoopParts) -> dict[str, Any]:
    """Return the effective settings; the loop's own clipping is unknown, see `clip_coef`."""
    model = parts.model
    return {
        "model": type(model).__name__,
        "optimizer": type(parts.optimizer).__name__,
        "momentum": momentum(parts.optimizer),
        "groups": {
            f"pg{i}": {
                "lr": float(group["lr"]),
                "weight_decay": float(group.get("weight_decay", 0.0)),
                "tensors": len(group["params"]),
            }
            for i, group in enumerate(parts.optimizer.param_groups)
        },
        "amp": parts.scaler is not None,
        "guard": "off",
        "clip": "unknown",
        "norm_layers": dict(
            Counter(type(m).__name__ for m in model.modules() if "Norm" in type(m).__name__)
        ),
        "frozen": [n for n, p in model.named_parameters() if not p.requires_grad],
        "parameters": sum(p.numel() for p in model.parameters()),
        "torch_threads": torch.get_num_threads(),
    }


def _device(device: torch.device) -> str:
    """Return a description of the device."""
    return (
        f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)
    )


def _vector(values: list[Tensor | float], device: torch.device) -> Tensor:
    """Join numbers and 0-dim tensors into one vector without a device synchronization."""
    parts = [
        v.detach().reshape(()) if isinstance(v, Tensor) else torch.tensor(float(v)) for v in values
    ]
    return (
        torch.stack([p.to(device=device, dtype=torch.float32) for p in parts])
        if parts
        else _NOTHING
    )
