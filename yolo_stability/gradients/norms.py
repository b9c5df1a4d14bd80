"""Per-block gradient statistics: pure tensor maths, one host transfer a step.

A norm per tensor is computed once on the device and serves twice: torch's own reduction of it gives the total that
the clip uses (bit for bit what `clip_grad_norm_` computes), and float64 sums of squares on the host give the blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from yolo_stability.core.types import BlockSpec

__all__ = [
    "BlockIndex",
    "count_nonfinite",
    "exact_norms",
    "tensor_norms",
    "to_host",
    "total_norm",
    "without_overflow",
]

_FOREACH_DEVICES = frozenset({"cpu", "cuda", "xpu"})


def tensor_norms(tensors: Sequence[Tensor], order: float = 2.0) -> Tensor:
    """Return the norm of each tensor as one vector on their device, shape (len(tensors),).

    Args:
        tensors: Any shapes, all on one device.
        order: 2 for L2, `inf` for the largest magnitude (which cannot overflow).
    """
    if not tensors:
        return torch.zeros(0)
    if tensors[0].device.type in _FOREACH_DEVICES:
        return torch.stack(torch._foreach_norm(list(tensors), order))
    return torch.stack([torch.linalg.vector_norm(t, order) for t in tensors])


def total_norm(grads: Sequence[Tensor], norms: Tensor) -> Tensor:
    """Return the total L2 norm exactly as `torch.nn.utils.clip_grad_norm_` would (0-dim tensor).

    torch reduces the norms group by group of dtype; with one dtype that is the given order, so the norms are
    reused. With several it is asked to do it itself, for the order of a float sum changes its last bit.

    Args:
        grads: The gradients.
        norms: Their norms, from `tensor_norms`.
    """
    if len({g.dtype for g in grads}) > 1:
        return torch.nn.utils.get_total_norm(grads)
    total: Tensor = torch.linalg.vector_norm(norms, 2.0)
    return total


def exact_norms(tensors: Sequence[Tensor]) -> NDArray[np.float64]:
    """Return the L2 norm of each tensor computed in float64 on the host; for values whose squares overflow float32.

    Args:
        tensors: Any shapes and devices.
    """
    return np.array([float(torch.linalg.vector_norm(t.detach().cpu().double())) for t in tensors])


def count_nonfinite(tensors: Sequence[Tensor]) -> NDArray[np.int64]:
    """Return how many elements of each tensor are NaN or Inf (one host transfer; call it only when there are some)."""
    if not tensors:
        return np.zeros(0, dtype=np.int64)
    return torch.stack([t.numel() - torch.isfinite(t).sum() for t in tensors]).cpu().numpy()


def without_overflow(
    tensors: Sequence[Tensor], norms: NDArray[np.float64], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the norms with those recomputed in float64 that overflowed although every element is finite.

    Args:
        tensors: The tensors.
        norms: Their L2 norms, shape (len(tensors),).
        counts: From `count_nonfinite`.
    """
    overflowed = np.flatnonzero(~np.isfinite(norms) & (counts == 0))
    if len(overflowed) == 0:
        return norms
    repaired = norms.copy()
    repaired[overflowed] = exact_norms([tensors[int(i)] for i in overflowed])
    return repaired


def to_host(*vectors: Tensor) -> list[NDArray[np.float64]]:
    """Bring vectors to the host in one transfer.

    Args:
        vectors: 0- or 1-dim tensors on one device (empty ones anywhere).

    Returns:
        One float64 vector each, in order. Values travel as float32.
    """
    if all(_is_on_host(v) for v in vectors):  # nothing to transfer
        return [v.detach().float().reshape(-1).numpy().astype(np.float64) for v in vectors]
    parts = [v.detach().reshape(-1).float() for v in vectors]
    filled = [v for v in parts if len(v)]
    values = torch.cat(filled).cpu().numpy().astype(np.float64) if filled else np.zeros(0)
    return np.split(values, np.cumsum([len(v) for v in parts])[:-1])


def _is_on_host(tensor: Tensor) -> bool:
    """Return whether a tensor can be read without waiting for a device."""
    return tensor.device.type == "cpu"


@dataclass(frozen=True, slots=True)
class BlockIndex:
    """Which block each parameter belongs to.

    Attributes:
        blocks: The blocks.
        params: Parameters of those blocks, in the order of `model.parameters()`.
        positions: Position in `blocks` of each parameter, shape (len(params),).
    """

    blocks: tuple[BlockSpec, ...]
    params: tuple[nn.Parameter, ...]
    positions: NDArray[np.int64]

    @classmethod
    def of(cls, model: nn.Module, blocks: tuple[BlockSpec, ...]) -> BlockIndex:
        """Index the parameters of an unwrapped model.

        Args:
            model: The model whose blocks these are.
            blocks: From `model_blocks(model)`.
        """
        position_of = {name: i for i, block in enumerate(blocks) for name in block.param_names}
        members = [(p, position_of[n]) for n, p in model.named_parameters() if n in position_of]
        return cls(
            blocks=blocks,
            params=tuple(p for p, _ in members),
            positions=np.array([i for _, i in members], dtype=np.int64),
        )

    def with_gradient(self) -> tuple[list[Tensor], NDArray[np.int64]]:
        """Return the gradients that exist now, and the block position of each."""
        grads = [p.grad for p in self.params]
        if all(g is not None for g in grads):
            return grads, self.positions  # type: ignore[return-value]
        present = [i for i, g in enumerate(grads) if g is not None]
        return [grads[i] for i in present], self.positions[present]  # type: ignore[misc]

    def combine(
        self, norms: NDArray[np.float64], positions: NDArray[np.int64]
    ) -> list[float | None]:
        """Return the root sum of squares per block; None for a block without any tensor (frozen).

        Args:
            norms: L2 norm of each tensor, shape (n,).
            positions: Block position of each tensor, shape (n,).
        """
        n_blocks = len(self.blocks)
        present = np.bincount(positions, minlength=n_blocks) > 0
        with np.errstate(over="ignore", invalid="ignore"):
            combined = np.sqrt(np.bincount(positions, weights=norms**2, minlength=n_blocks))
        return [float(v) if here else None for v, here in zip(combined, present, strict=True)]

    def sum_counts(self, counts: NDArray[np.int64], positions: NDArray[np.int64]) -> list[int]:
        """Return the sum of a count per tensor over each block.

        Args:
            counts: Count of each tensor, shape (n,).
            positions: Block position of each tensor, shape (n,).
        """
        return [int(v) for v in np.bincount(positions, weights=counts, minlength=len(self.blocks))]
