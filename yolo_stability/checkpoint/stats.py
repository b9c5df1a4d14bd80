"""Statistics of one tensor of a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from yolo_stability.checkpoint.reader import NamedTensor

__all__ = ["TensorStats", "tensor_stats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorStats:
    """Statistics of one tensor, as the audit needs them.

    Attributes:
        part: model, ema, optimizer, scaler or another key of the checkpoint.
        name: Name as in the part's `state_dict`.
        block: Block of a YOLO model; None elsewhere.
        module: Class of the owning module; empty where unknown.
        buffer: Whether it is known to be a buffer.
        branch: Whether its block may add its input to its output; see `NamedTensor`.
        axes: Number of axes.
        spread: Number of axes longer than one.
        fan_in: Elements of one output unit (a filter, a row).
        numel: Distinct elements.
        floating: Whether its elements are floating-point or complex.
        nan: Number of NaN elements.
        inf: Number of infinite elements.
        saturated: Elements at the largest half-precision number, in a tensor of that type.
        largest: Largest magnitude of a finite element.
        rms: Root mean square of the finite elements.
        equal: Whether all elements are equal.
    """

    part: str
    name: str
    block: str | None
    module: str
    buffer: bool
    branch: bool
    axes: int
    spread: int
    fan_in: int
    numel: int
    floating: bool
    nan: int
    inf: int
    saturated: int
    largest: float
    rms: float
    equal: bool

    @property
    def leaf(self) -> str:
        """Last part of the name: weight, bias, running_var."""
        return self.name.rpartition(".")[2]

    @property
    def owner(self) -> str:
        """Part and name of the owning module."""
        return f"{self.part}:{self.name.rpartition('.')[0]}"

    @property
    def zero(self) -> bool:
        """Whether every element is zero."""
        return bool(self.numel) and not self.nan and not self.inf and self.largest == 0


def tensor_stats(named: NamedTensor, values: Tensor) -> TensorStats:
    """Reduce a tensor to the statistics that the audit rules use.

    Args:
        named: The tensor's description in the checkpoint.
        values: Its elements, of any type and shape, with repeated axes given once.
    """
    floating = values.is_floating_point() or values.is_complex()
    half = values.dtype == torch.float16
    wide = torch.view_as_real(values.to(torch.complex64)) if values.is_complex() else values
    wide = wide if wide.dtype == torch.float64 else wide.to(torch.float32)
    mask = torch.isfinite(wide)
    sound = bool(mask.all())
    finite = wide.reshape(-1) if sound else wide[mask]  # boolean indexing is the slowest step
    low, high = (float(bound) for bound in finite.aminmax()) if finite.numel() else (0.0, 0.0)
    largest = max(abs(low), abs(high))
    # Scaled first: squares of large float32 values overflow.
    rms = (
        largest * float(torch.linalg.vector_norm(finite / largest)) / finite.numel() ** 0.5
        if largest
        else 0.0
    )
    shape = named.tensor.shape
    top = torch.finfo(torch.float16).max
    return TensorStats(
        part=named.part,
        name=named.name,
        block=named.block,
        module=named.module,
        buffer=named.buffer,
        branch=named.branch,
        axes=len(shape),
        spread=sum(length > 1 for length in shape),
        fan_in=max(1, values.numel() // max(1, shape[0])) if shape else 1,
        numel=values.numel(),
        floating=floating,
        nan=0 if sound else int(torch.isnan(wide).sum()),
        inf=0 if sound else int(torch.isinf(wide).sum()),
        saturated=int((finite.abs() >= top).sum()) if half and largest >= top else 0,
        largest=largest,
        rms=rms,
        equal=bool(wide.numel()) and (low == high if sound else _all_equal(wide)),
    )


def _all_equal(values: Tensor) -> bool:
    """Return whether all elements are equal; NaN equals nothing."""
    return bool((values == values.flatten()[0]).all())
