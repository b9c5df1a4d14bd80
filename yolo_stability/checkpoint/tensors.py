"""Tensors as a checkpoint describes them: replacements of the functions that rebuild tensors.

Arguments come from the file and may be anything. Signatures as in `torch._utils` and
`torch._tensor`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from yolo_stability.checkpoint.archive import DTYPES, Archive, Storage
from yolo_stability.checkpoint.pickle_objects import Global, Record, Unreadable
from yolo_stability.checkpoint.pickle_reader import Call

__all__ = ["StoredTensor", "check_extent", "read_values", "rebuilders", "repeats", "span_bytes"]

_MAX_AXES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """A tensor as the file describes it.

    Attributes:
        storage: Storage of its elements.
        dtype: Type of its elements.
        offset: Index of its first element in the storage.
        shape: Size along each axis.
        stride: Distance in the storage between adjacent elements along each axis.
    """

    storage: Storage
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def rebuilders(lost: list[str]) -> Mapping[str, Call]:
    """Return replacements of torch's rebuild functions; `lost` grows with each unread tensor."""

    def lose(arguments: tuple[Any, ...]) -> Record:
        lost.append("")
        return Record("", arguments)

    unsupported = (
        *(
            "qtensor",
            "sparse_tensor",
            "sparse_csr_tensor",
            "meta_tensor_no_storage",
            "nested_tensor",
        ),
        *("wrapper_subclass", "device_tensor_from_numpy", "device_tensor_from_cpu_tensor"),
    )
    return {
        "torch._utils._rebuild_tensor": _rebuild_tensor,
        "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
        "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
        "torch._utils._rebuild_parameter": _first,
        "torch._utils._rebuild_parameter_with_state": _first,
        "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
        "collections.OrderedDict": _ordered_dict,
        "torch.Size": _as_sequence,
        **dict.fromkeys(
            ("__builtin__.set", "builtins.set", "builtins.frozenset", "__builtin__.frozenset"),
            _as_sequence,
        ),
        **dict.fromkeys((f"torch._utils._rebuild_{name}" for name in unsupported), lose),
    }


def _first(arguments: tuple[Any, ...]) -> Any:
    """Return the content of a wrapper, such as the tensor of a parameter."""
    return arguments[0] if arguments else None


def _as_sequence(arguments: tuple[Any, ...]) -> Any:
    """Return the members of a set or size without a copy: repeated copies would fill the memory."""
    members = _first(arguments)
    return members if isinstance(members, list | tuple) else ()


def _ordered_dict(arguments: tuple[Any, ...]) -> Any:
    """Return an empty dict to be filled; torch never passes items as arguments."""
    return Record("collections.OrderedDict", arguments) if arguments and arguments != ((),) else {}


def _rebuild_from_type(arguments: tuple[Any, ...]) -> Any:
    """Return the tensor of a Tensor subclass, pickled as `(function, type, arguments, state)`."""
    match arguments:
        case (Global(name="torch._utils._rebuild_tensor_v2"), _, tuple() as inner, *_):
            return _rebuild_tensor(inner)
    return Record("", arguments)


def _rebuild_tensor(arguments: tuple[Any, ...]) -> StoredTensor:
    """Describe a tensor from `(storage, offset, shape, stride, ...)`."""
    storage = _first(arguments)
    return _described(arguments, storage.dtype if isinstance(storage, Storage) else None)


def _rebuild_tensor_v3(arguments: tuple[Any, ...]) -> StoredTensor:
    """Describe a tensor whose element type is the seventh argument."""
    kind = arguments[6] if len(arguments) > 6 else None
    return _described(
        arguments,
        DTYPES.get(kind.name.removeprefix("torch.")) if isinstance(kind, Global) else None,
    )


def _described(arguments: tuple[Any, ...], dtype: torch.dtype | None) -> StoredTensor:
    """Return the description of a tensor after validating its numbers."""
    match arguments:
        case (Storage() as storage, int() as offset, tuple() as shape, tuple() as stride, *_) if (
            dtype is not None
        ):
            few = len(shape) == len(stride) <= _MAX_AXES
            if few and all(isinstance(n, int) and n >= 0 for n in (offset, *shape, *stride)):
                return StoredTensor(
                    storage=storage, dtype=dtype, offset=offset, shape=shape, stride=stride
                )
    raise Unreadable("it describes a tensor in a way that torch never writes")


def _distinct(shape: tuple[int, ...], stride: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape without repetition along axes of stride 0."""
    return tuple(
        1 if step == 0 and size else size for size, step in zip(shape, stride, strict=True)
    )


def repeats(tensor: StoredTensor) -> bool:
    """Return whether a tensor repeats itself along an axis, so it has more elements than bytes."""
    return _distinct(tensor.shape, tensor.stride) != tensor.shape


def check_extent(tensor: StoredTensor) -> None:
    """Raise Unreadable if a tensor exceeds its storage or claims more elements than it has."""
    capacity = tensor.storage.nbytes // tensor.dtype.itemsize
    if 0 in tensor.shape:
        return
    if (
        tensor.offset + _reach(tensor) > capacity
        or math.prod(_distinct(tensor.shape, tensor.stride)) > capacity
    ):
        shape = "x".join(map(str, tensor.shape))[:40]
        raise Unreadable(
            f"a tensor of {shape} elements does not fit into its record of {capacity:,}"
        )


def _reach(tensor: StoredTensor) -> int:
    """Return the number of storage elements from its first to its last, inclusive; 0 if empty."""
    steps = ((n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True))
    return 0 if 0 in tensor.shape else 1 + sum(steps)


def span_bytes(tensor: StoredTensor) -> int:
    """Return the number of bytes read for a tensor."""
    return _reach(tensor) * tensor.dtype.itemsize


def read_values(archive: Archive, tensor: StoredTensor) -> torch.Tensor:
    """Read a checked tensor; an axis along which it repeats itself is given once."""
    content = archive.read(
        tensor.storage, tensor.offset * tensor.dtype.itemsize, span_bytes(tensor)
    )
    if not content:
        return torch.empty(0, dtype=tensor.dtype)
    flat = torch.frombuffer(content, dtype=tensor.dtype)
    return flat.as_strided(_distinct(tensor.shape, tensor.stride), tensor.stride)
