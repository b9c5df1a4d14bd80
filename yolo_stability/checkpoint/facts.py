"""Metadata of a checkpoint besides its tensors: task, epoch, settings."""

from __future__ import annotations

from typing import Any

from yolo_stability.checkpoint.pickle_objects import Global, Record

__all__ = ["NAME_LENGTH", "class_name", "dotted_name", "facts_of"]

NAME_LENGTH, TEXT_LENGTH = 200, 500  # maximum characters kept


_FACTS = (
    "epoch",
    "date",
    "version",
    "updates",
    "best_fitness",
    "scaler",
    "train_args",
    "train_metrics",
)


def facts_of(content: Any) -> dict[str, Any]:
    """Return the scalar values of an Ultralytics checkpoint."""
    if not isinstance(content, dict):
        return {}
    found = {name: _flat_scalars(content[name]) for name in _FACTS if name in content}
    for part in ("model", "ema"):
        if isinstance(content.get(part), Record):
            found["model_class"] = class_name(content[part])[:TEXT_LENGTH]
    return {name: value for name, value in found.items() if value is not None}


def _flat_scalars(value: Any) -> Any:
    """Return a scalar, or a flat dict of scalars; everything else is dropped."""
    if isinstance(value, Record):
        value = value.state
    if isinstance(value, dict):
        flat = {
            key[:NAME_LENGTH]: _scalar(item) for key, item in value.items() if isinstance(key, str)
        }
        return {key: item for key, item in flat.items() if item is not None}
    return _scalar(value)


def _scalar(value: Any) -> Any:
    """Return a number or the start of a text; None for any other type."""
    if isinstance(value, str):
        return value[:TEXT_LENGTH]
    return value if isinstance(value, bool | int | float) else None


def class_name(record: Record) -> str:
    """Return the class name of a module, such as `Conv2d`."""
    return dotted_name(record).rpartition(".")[2][:NAME_LENGTH]


def dotted_name(record: Record) -> str:
    """Return the class of a module with its package; empty where the file does not name it."""
    name = record.kind
    # pickle protocol 1 calls this function, with the class as first argument
    if name.endswith("._reconstructor"):
        made = (
            record.arguments[0]
            if isinstance(record.arguments, tuple) and record.arguments
            else None
        )
        name = made.name if isinstance(made, Global) else ""
    return name
