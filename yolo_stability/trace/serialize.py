"""Conversion to and from strict JSON: header and events are readable by every JSON parser."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Set
from typing import Any

from yolo_stability.core.errors import TraceError
from yolo_stability.core.json_values import us_causes
from yolo_stability.core.types import BlockSpec, Event, RunHeader
from yolo_stability.trace.layout import SCHEMA_VERSION

__all__ = ["event_line", "event_row", "header_from_json", "header_to_json", "strict_json"]

_HEADER_FIELDS = [f.name for f in dataclasses.fields(RunHeader)]
_BLOCK_FIELDS = [f.name for f in dataclasses.fields(BlockSpec)]
_MAX_STEP = 2**32 - 1
_MAX_ATTEMPT = 2**16 - 1


def strict_json(value: Any) -> Any:
    """Convert a value to what strict JSON can represent.

    NaN and infinities become the strings `NaN`, `Infinity`, `-Infinity`; numpy and torch scalars
    become numbers, mappings and dataclasses objects, sequences and sets arrays; anything else, such
    as a path, becomes its text.

    Example:
        >>> strict_json({"loss": float("nan"), "shape": (2, 3)})
        {'loss': 'NaN', 'shape': [2, 3]}
    """
    if isinstance(value, bool | None):
        return value
    if isinstance(value, str | int | float):
        return _scalar(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): strict_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple | Set):
        items = [strict_json(v) for v in value]
        return sorted(items, key=str) if isinstance(value, Set) else items
    return _foreign(value)


def _scalar(value: str | int | float) -> str | int | float:
    """Convert a scalar subclass, such as a numpy float, to its base type; NaN and Inf to names."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return float(value)


def _foreign(value: Any) -> Any:
    """Convert a numpy or torch value through its `tolist`, anything else to its text."""
    tolist = getattr(value, "tolist", None)
    if callable(tolist):
        try:
            return strict_json(tolist())
        except Exception:  # a lazy or meta tensor has no values but has a text
            return str(value)
    return str(value)


def header_to_json(header: RunHeader) -> bytes:
    """Return the content of `header.json`."""
    return (
        json.dumps(strict_json(header), indent=1, allow_nan=False, ensure_ascii=True) + "\n"
    ).encode()


def header_from_json(text: bytes, where: str) -> RunHeader:
    """Read the content of `header.json`.

    Args:
        text: The bytes of the file.
        where: Name of the file, for error messages.

    Raises:
        TraceError: Not a header, or written by a newer version of this package.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    version = data.get("schema_version") if isinstance(data, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise TraceError(
            f"{where} is damaged: it has no run header. Train again to record a new trace."
        )
    if version > SCHEMA_VERSION:
        raise TraceError(
            f"{where} was written by a newer yolo_stability (trace schema {version}, this version "
            f"reads up to {SCHEMA_VERSION}): upgrade with `pip install -U yolo-stability`."
        )
    try:
        fields = {name: data[name] for name in _HEADER_FIELDS}
        blocks = tuple(_block(b) for b in fields.pop("blocks"))
        if not all(
            isinstance(fields[name], dict) for name in ("requested", "effective", "versions")
        ):
            raise TypeError("settings or versions are not a mapping")
        return RunHeader(**fields, blocks=blocks)
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise TraceError(
            f"{where} is damaged: {e!r} in the run header. Train again to record a new trace."
        ) from e


def _block(data: Mapping[str, Any]) -> BlockSpec:
    fields = {name: data[name] for name in _BLOCK_FIELDS}
    texts = [fields["name"], fields["role"], fields["module_type"], *fields["param_names"]]
    if not all(isinstance(t, str) for t in texts):
        raise TypeError("a block's name is not a string")
    return BlockSpec(**{**fields, "param_names": tuple(fields["param_names"])})


def event_line(event: Event) -> bytes:
    """Return the line of `events.jsonl` for an event, including its newline."""
    return (json.dumps(strict_json(event), allow_nan=False) + "\n").encode()


def event_row(line: bytes) -> dict[str, Any] | None:
    """Read one line of `events.jsonl`.

    Returns:
        attempt, step, kind, block, data (JSON text); None for an incomplete or invalid line.
    """
    try:
        data = json.loads(line)
        attempt, step, kind, block = data["attempt"], data["step"], data["kind"], data.get("block")
        details = data.get("data")  # another program may have written anything
        attempt, step, text = (
            int(attempt),
            int(step),
            json.dumps(us_causes(details) if isinstance(details, dict) else {}),
        )
        if not (0 <= attempt <= _MAX_ATTEMPT and 0 <= step <= _MAX_STEP):
            return None
        block = None if block is None else str(block)
        return {"attempt": attempt, "step": step, "kind": str(kind), "block": block, "data": text}
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None
