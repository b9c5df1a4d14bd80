"""Reader of checkpoints: every tensor and fact by name, without executing anything in them.

Ultralytics pickles whole modules, so `torch.load(weights_only=True)` rejects its checkpoints, and
without that option it executes what the file contains. Here modules stay descriptions, whose
tensors are named as `state_dict` would name them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from yolo_stability.checkpoint.archive import Archive, open_archive
from yolo_stability.checkpoint.facts import NAME_LENGTH, class_name, dotted_name, facts_of
from yolo_stability.checkpoint.pickle_objects import Record, Unreadable
from yolo_stability.checkpoint.tensors import (
    StoredTensor,
    check_extent,
    read_values,
    rebuilders,
    repeats,
    span_bytes,
)
from yolo_stability.core.errors import StabilityError

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "NamedTensor",
    "StoredTensor",
    "open_checkpoint",
    "read_tensors",
]

_MAX_DEPTH, _MAX_VISITS = 100, 100_000
_MAX_SHARED = 16  # each tensor is read separately: a million views of a gigabyte would never finish
_PARTS = frozenset(("model", "ema", "optimizer", "scaler", "state_dict"))
# modules of Ultralytics that always add their input; the others have an attribute `add`
_RESIDUAL = frozenset(
    (
        "ABlock",
        "AIFI",
        "DeformableTransformerDecoderLayer",
        "ResNetBlock",
        "Residual",
        "TransformerBlock",
        "TransformerEncoderLayer",
        "TransformerLayer",
    )
)


class CheckpointError(StabilityError):
    """A file that cannot be read as a checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTensor:
    """A tensor and its position in the checkpoint.

    Attributes:
        part: model, ema, optimizer, scaler, or the checkpoint key that holds it; empty for a bare
            state dict.
        name: Name as in the part's `state_dict`.
        block: Block of a YOLO model, such as `model.6 C3k2`; None elsewhere.
        module: Class of the owning module, such as `BatchNorm2d`; empty where unknown.
        buffer: Whether it is known to be a buffer.
        branch: Whether it is known to be in a block that adds its input to its output, or that is
            neither torch's nor Ultralytics' own and may do so.
        tensor: Its description.
    """

    part: str
    name: str
    block: str | None
    module: str
    buffer: bool = False
    branch: bool = False
    tensor: StoredTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint that is open for reading.

    Attributes:
        path: The file.
        tensors: All tensors in file order, except those in other attributes of modules.
        facts: Scalar values: epoch, date, version, train_args, the class of the model.
        unread: Number of tensors of unsupported kinds: quantized, sparse, on the meta device.
    """

    path: Path
    tensors: tuple[NamedTensor, ...]
    facts: Mapping[str, Any]
    unread: int
    _archive: Archive = field(repr=False)

    def values(self, tensor: StoredTensor) -> Tensor:
        """Read a tensor; an axis along which it repeats itself is given once.

        Raises:
            CheckpointError: The file is truncated or has changed meanwhile.
        """
        with _sentence(self.path):
            return read_values(self._archive, tensor)


@contextmanager
def open_checkpoint(path: str | Path) -> Iterator[Checkpoint]:
    """Open a checkpoint; nothing in it is executed, imported or written to disk.

    Args:
        path: The file, or a link to it.

    Yields:
        Its tensors and facts.

    Raises:
        CheckpointError: Not a file, not a torch checkpoint, or a damaged one.
    """
    path = Path(path)
    try:
        if not path.is_file():  # reading a pipe or device might never end
            raise CheckpointError(
                f"{path} is not a file; name a checkpoint, such as weights/last.pt."
            )
        stream = path.open("rb")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise CheckpointError(
            f"{path} cannot be opened: {reason}; name a checkpoint, such as weights/last.pt."
        ) from error
    with stream:
        with _sentence(path):
            lost: list[str] = []
            archive = open_archive(stream, lambda: rebuilders(lost))
            tensors = tuple(_named(archive.content))
            for named in tensors:
                archive.check(named.tensor.storage)
                check_extent(named.tensor)
            if (
                sum(span_bytes(named.tensor) for named in tensors)
                > _MAX_SHARED * path.stat().st_size
            ):
                raise Unreadable(
                    f"its tensors share their bytes more than {_MAX_SHARED} times over"
                )
        yield Checkpoint(
            path=path,
            tensors=tensors,
            facts=facts_of(archive.content),
            unread=len(lost),
            _archive=archive,
        )


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read a file that contains nothing but a dictionary of tensors with separate storages.

    Args:
        path: The file.

    Returns:
        The tensors by name; they take no more memory than the size of the file.

    Raises:
        CheckpointError: No such file, a damaged one, or one with other content.
    """
    with open_checkpoint(path) as opened, _sentence(opened.path):
        content = opened._archive.content
        if not isinstance(content, dict):
            raise Unreadable("it is not a dictionary of tensors")
        stored = {
            k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, StoredTensor)
        }
        if len(stored) < len(content):
            raise Unreadable("it contains other objects than tensors")
        size = opened.path.stat().st_size
        if (
            any(repeats(v) for v in stored.values())
            or sum(v.storage.nbytes for v in stored.values()) > size
        ):
            raise Unreadable("its tensors expand to more bytes than the file has")
        return {
            name: opened.values(tensor).reshape(tensor.shape) for name, tensor in stored.items()
        }


@contextmanager
def _sentence(path: Path) -> Iterator[None]:
    """Raise CheckpointError with a complete sentence for whatever is wrong with a file."""
    try:
        yield
    except (Unreadable, OSError) as error:
        reason = f"it cannot be read ({error.strerror})" if isinstance(error, OSError) else error
        text = (
            f"{path} cannot be audited: {reason}; name another checkpoint, or save this one again "
            "with torch.save."
        )
        raise CheckpointError(text) from error


# --- names ---

_HOLDERS = (StoredTensor, Record, dict, list, tuple)


def _named(content: Any) -> Iterator[NamedTensor]:
    """Yield every tensor with its name: modules as `state_dict` names them, containers by key."""
    visits = 0
    waiting = list(reversed(list(_starts(content))))
    while waiting:
        value, place = waiting.pop()
        if isinstance(value, StoredTensor):
            yield NamedTensor(
                part=place.part,
                name=place.name,
                block=place.block(),
                module=place.module,
                buffer=place.buffer,
                branch=place.branch,
                tensor=value,
            )
            continue
        state = _module_state(value)
        if state is not None:
            place = replace(
                place,
                module=class_name(value),
                branch=place.branch or (bool(place.module) and _may_bypass(value, state)),
                blocks=place.blocks or _blocks(state),
            )
        children = []
        for key, child, buffer in _children(value):
            visits += 1
            if visits > _MAX_VISITS or place.depth > _MAX_DEPTH:
                raise Unreadable(
                    f"it is nested more than {_MAX_DEPTH} deep or has more than "
                    f"{_MAX_VISITS:,} objects"
                )
            children.append((child, place.below(key, buffer=buffer)))
        waiting.extend(reversed(children))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Position of a value in the checkpoint."""

    part: str
    name: str = ""
    depth: int = 0
    module: str = ""
    buffer: bool = False
    branch: bool = False
    blocks: Mapping[str, str] = field(default_factory=dict)

    def below(self, key: str, *, buffer: bool) -> _Place:
        """Return the position of a child."""
        name = f"{self.name}.{key}" if self.name else key
        return replace(self, name=name[:NAME_LENGTH], depth=self.depth + 1, buffer=buffer)

    def block(self) -> str | None:
        """Return the block of a YOLO model; only its number if the modules are unknown."""
        pieces = self.name.split(".")
        beginnings = [".".join(pieces[:length]) for length in (3, 2)]
        known = next((self.blocks[b] for b in beginnings if b in self.blocks), None)
        numbered = len(pieces) > 2 and pieces[0] == "model" and pieces[1].isdecimal()
        return known or (beginnings[1] if numbered else None)


def _starts(content: Any) -> Iterator[tuple[Any, _Place]]:
    """Yield the parts of a checkpoint; the whole content if it has none."""
    if not isinstance(content, dict):
        yield content, _Place(part="")
        return
    for key, value in content.items():
        name = str(key)[:NAME_LENGTH] if isinstance(key, str | int) else ""
        if isinstance(value, _HOLDERS):
            yield value, _Place(part=name) if name in _PARTS else _Place(part="", name=name)


def _module_state(value: Any) -> dict[Any, Any] | None:
    """Return the attributes of a module; None for anything else."""
    state = value.state if isinstance(value, Record) else None
    return state if isinstance(state, dict) and isinstance(state.get("_modules"), dict) else None


def _may_bypass(module: Record, state: Mapping[Any, Any]) -> bool:
    """Return whether a module adds its input to its output, or is of unknown origin and may."""
    name = dotted_name(module)
    return (
        state.get("add") is True
        or name.rpartition(".")[2] in _RESIDUAL
        or not name.startswith(("torch.", "ultralytics."))
    )


def _children(value: Any) -> Iterator[tuple[str, Any, bool]]:
    """Yield what may hold tensors inside a module, a container, or the record of one.

    The third value is whether it is a buffer.
    """
    state = _module_state(value)
    if state is not None:
        for kind in ("_parameters", "_buffers", "_modules"):
            members = state.get(kind)
            for name, item, _ in _children(members) if isinstance(members, dict) else ():
                yield name, item, kind == "_buffers"
        return
    if isinstance(value, Record):
        value = value.table or value.items
    pairs = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list | tuple)
        else ()
    )
    for key, item in pairs:
        if isinstance(key, str | int) and isinstance(item, _HOLDERS):
            yield str(key)[:NAME_LENGTH], item, False


def _blocks(state: Mapping[Any, Any]) -> dict[str, str]:
    """Return YOLO blocks by tensor-name prefix; the last module, the head, is split by branch."""
    layers = _module_state(state["_modules"].get("model"))
    inner = layers["_modules"] if layers is not None else {}
    modules = [
        (str(number), module) for number, module in inner.items() if isinstance(module, Record)
    ]
    blocks = {
        f"model.{number}": f"model.{number} {class_name(module)}" for number, module in modules
    }
    for number, head in modules[-1:]:
        for branch in (_module_state(head) or {"_modules": ()})["_modules"]:
            blocks[f"model.{number}.{branch}"] = f"model.{number}.{branch} {class_name(head)}"
    return blocks
