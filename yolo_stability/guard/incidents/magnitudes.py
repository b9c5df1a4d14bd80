"""Magnitude and finiteness of nested tensors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["all_finite", "largest", "tensors_in"]


def tensors_in(values: Any) -> Iterator[Tensor]:
    """Yield the floating-point tensors in nested values."""
    if isinstance(values, Tensor):
        if values.is_floating_point():
            yield values.detach()
    elif isinstance(values, Mapping):
        for value in values.values():
            yield from tensors_in(value)
    elif isinstance(values, list | tuple):
        for value in values:
            yield from tensors_in(value)


def largest(tensors: Iterable[Tensor]) -> float:
    """Return the largest magnitude in tensors; NaN or inf if an element is; 0 without elements."""
    tops = [float(tensor.abs().amax()) for tensor in tensors if tensor.numel()]
    return next((top for top in tops if not math.isfinite(top)), max(tops, default=0.0))


def all_finite(tensors: Any) -> bool:
    """Return whether every element of every tensor is finite."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
