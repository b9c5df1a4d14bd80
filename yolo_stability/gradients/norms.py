"""Per-block gradient statistics: pure tensor functions with one host transfer per step.

A norm per tensor is computed once on the device and used twice: torch's own reduction of it gives
the total that the clip uses (bit for bit what `clip_grad_norm_` computes), and float64 sums of
squares on the host give the blocks.
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
        tensors: Tensors of any shape, all on one device.
        order: 2 for L2, `inf` for the largest magnitude (which cannot overflow).

    Example:
        >>> tensor_norms([torch.tensor([3.0, 4.0]), torch.tensor([-2.0])]).tolist()
        [5.0, 2.0]
    """
    if not tensors:
        return torch.zeros(0)
    if tensors[0].device.type in _FOREACH_DEVICES:
        return torch.stack(torch._foreach_norm(list(tensors), order))
    return torch.stack([torch.linalg.vector_norm(t, order) for t in tensors])


def total_norm(grads: Sequence[Tensor], norms: Tensor) -> Tensor:
    """Return the total L2 norm exactly as `torch.nn.utils.clip_grad_norm_` would (0-dim tensor).

    torch reduces the norms grouped by dtype. With a single dtype that is the given order, so the
    norms are reused. With several dtypes torch recomputes the total, since the order of a float sum
    changes its last bit.

    Args:
        grads: The gradients.
        norms: Their L2 norms from `tensor_norms`, shape (len(grads),).

    Example:
        >>> grads = [torch.tensor([3.0]), torch.tensor([4.0])]
        >>> total_norm(grads, tensor_norms(grads)).item()
        5.0
    """
    if len({g.dtype for g in grads}) > 1:
        return torch.nn.utils.get_total_norm(grads)
    total: Tensor = torch.linalg.vector_norm(norms, 2.0)
    return total


def exact_norms(tensors: Sequence[Tensor]) -> NDArray[np.float64]:
    """Return float64 L2 norms, computed on the host; for values whose squares overflow float32.

    Args:
        tensors: Tensors of any shape, on any device.

    Returns:
        Norm of each tensor, shape (len(tensors),).

    Example:
        >>> exact_norms([torch.full((4,), 1e30)]).round(-28).tolist()
        [2e+30]
    """
    return np.array([float(torch.linalg.vector_norm(t.detach().cpu().double())) for t in tensors])


def count_nonfinite(tensors: Sequence[Tensor]) -> NDArray[np.int64]:
    """Return the number of NaN and Inf elements of each tensor, shape (len(tensors),).

    This takes one host transfer, so call it only when a total is not finite.

    Example:
        >>> count_nonfinite([torch.tensor([1.0, torch.nan, torch.inf]), torch.zeros(2)]).tolist()
        [2, 0]
    """
    if not tensors:
        return np.zeros(0, dtype=np.int64)
    return torch.stack([t.numel() - torch.isfinite(t).sum() for t in tensors]).cpu().numpy()


def without_overflow(
    tensors: Sequence[Tensor], norms: NDArray[np.float64], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Recompute in float64 the norms that overflowed although every element is finite.

    Args:
        tensors: The tensors.
        norms: Their L2 norms, shape (len(tensors),).
        counts: Number of non-finite elements of each from `count_nonfinite`, shape (len(tensors),).

    Returns:
        The norms, shape (len(tensors),); unchanged where a tensor holds NaN or Inf.

    Example:
        >>> tensors = [torch.full((4,), 1e30), torch.tensor([torch.inf])]
        >>> norms = np.array([np.inf, np.inf])
        >>> without_overflow(tensors, norms, count_nonfinite(tensors)).round(-28).tolist()
        [2e+30, inf]
    """
    overflowed = np.flatnonzero(~np.isfinite(norms) & (counts == 0))
    if len(overflowed) == 0:
        return norms
    repaired = norms.copy()
    repaired[overflowed] = exact_norms([tensors[int(i)] for i in overflowed])
    return repaired


def to_host(*vectors: Tensor) -> list[NDArray[np.float64]]:
    """Transfer vectors to the host in one copy.

    Args:
        *vectors: 0- or 1-dim tensors on one device (empty ones on any).

    Returns:
        One float64 vector per argument, in order. Values are transferred as float32.

    Example:
        >>> [values.tolist() for values in to_host(torch.tensor([1.0, 2.0]), torch.tensor(3.0))]
        [[1.0, 2.0], [3.0]]
    """
    if all(_is_on_host(v) for v in vectors):  # nothing to transfer
        return [v.detach().float().reshape(-1).numpy().astype(np.float64) for v in vectors]
    parts = [v.detach().reshape(-1).float() for v in vectors]
    filled = [v for v in parts if len(v)]
    values = torch.cat(filled).cpu().numpy().astype(np.float64) if filled else np.zeros(0)
    return np.split(values, np.cumsum([len(v) for v in parts])[:-1])


def _is_on_host(tensor: Tensor) -> bool:
    """Return whether a tensor can be read without a device synchronization."""
    return tensor.device.type == "cpu"


@dataclass(frozen=True, slots=True)
class BlockIndex:
    """Mapping from parameters to blocks.

    Attributes:
        blocks: The blocks.
        params: Parameters of those blocks, in the order of `model.parameters()`.
        positions: Position in `blocks` of each parameter, shape (len(params),).

    Example:
        >>> from yolo_stability.gradients.blocks import model_blocks
        >>> model = nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 1))
        >>> index = BlockIndex.of(model, model_blocks(model))
        >>> index.positions.tolist()
        [0, 0, 1, 1]
        >>> index.combine(np.array([3.0, 4.0, 0.0, 1.0]), index.positions)
        [5.0, 1.0]
    """

    blocks: tuple[BlockSpec, ...]
    params: tuple[nn.Parameter, ...]
    positions: NDArray[np.int64]

    @classmethod
    def of(cls, model: nn.Module, blocks: tuple[BlockSpec, ...]) -> BlockIndex:
        """Index the parameters of an unwrapped model.

        Args:
            model: The model.
            blocks: Its blocks from `model_blocks(model)`.
        """
        position_of = {name: i for i, block in enumerate(blocks) for name in block.param_names}
        members = [(p, position_of[n]) for n, p in model.named_parameters() if n in position_of]
        return cls(
            blocks=blocks,
            params=tuple(p for p, _ in members),
            positions=np.array([i for _, i in members], dtype=np.int64),
        )

    def with_gradient(self) -> tuple[list[Tensor], NDArray[np.int64]]:
        """Return the existing gradients and the block position of each."""
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
        """Sum a count per tensor over each block.

        Args:
            counts: Count of each tensor, shape (n,).
            positions: Block position of each tensor, shape (n,).
        """
        return [int(v) for v in np.bincount(positions, weights=counts, minlength=len(self.blocks))]
