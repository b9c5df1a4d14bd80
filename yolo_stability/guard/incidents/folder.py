"""Incident folder `stability/incidents/step-NNNNNN/`: everything needed to reproduce a bad step.

`incident.json` describes the finding and how to build the model; dictionaries of tensors are saved
beside it. Such a folder may come from an untrusted source: the package's own reader executes
nothing and uses no more memory than the size of the files.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from yolo_stability.checkpoint.reader import CheckpointError, read_tensors
from yolo_stability.core.errors import StabilityError
from yolo_stability.guard.incidents.batch import image_files, labels_of, tensor_bytes
from yolo_stability.guard.incidents.window import KeptBatch, RandomState

__all__ = ["INCIDENT_BYTES", "Incident", "json_safe", "read_incident", "write_incident"]

INCIDENT_BYTES = 512 * 2**20
"""Maximum size of an incident folder, in bytes."""
SCHEMA_VERSION = 1
_JSON, _WEIGHTS, _RANDOM = "incident.json", "weights.pt", "rng.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One bad step.

    Attributes:
        facts: Content of `incident.json` except for the window: step, sign, culprit, model,
            arguments, settings.
        weights: Parameters and buffers by name, buffers from before the forward; None if they are
            not saved.
        extras: Other tensors of the model, such as class weights.
        window: The micro-batches.
        culprit: Position of the culprit micro-batch; None if unknown.
        omitted: Missing parts, with reasons.
    """

    facts: Mapping[str, Any]
    weights: Mapping[str, Tensor] | None
    extras: Mapping[str, Tensor]
    window: Sequence[KeptBatch]
    culprit: int | None = None
    omitted: tuple[str, ...] = field(default=())


def write_incident(
    folder: Path, incident: Incident, limit: int = INCIDENT_BYTES
) -> tuple[str, ...]:
    """Write an incident folder atomically.

    Args:
        folder: Folder to create.
        incident: Incident to write.
        limit: Maximum size of its tensors in bytes; weights are omitted first, then images.

    Returns:
        Omitted parts.

    Raises:
        OSError: The disk is full, or the folder cannot be written.
    """
    with_weights, images, omitted = _fitting(incident, limit)
    temp = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temp, ignore_errors=True)
    try:
        temp.mkdir(parents=True)
        if with_weights and incident.weights is not None:
            stored = {f"model.{k}": v for k, v in incident.weights.items()}
            stored |= {f"extra.{k}": v for k, v in incident.extras.items()}
            _save(stored, temp / _WEIGHTS)
        for i in images:
            batch = incident.window[i].batch
            _save({k: v for k, v in batch.items() if isinstance(v, Tensor)}, temp / _batch_file(i))
        _save(
            {
                f"{i}.{k}": v
                for i, kept in enumerate(incident.window)
                for k, v in kept.random.tensors().items()
            },
            temp / _RANDOM,
        )
        window = [_window_facts(i, kept, i in images) for i, kept in enumerate(incident.window)]
        facts = {
            "schema_version": SCHEMA_VERSION,
            **incident.facts,
            "window": window,
            "left_out": list(omitted),
        }
        (temp / _JSON).write_text(
            json.dumps(json_safe(facts), indent=1, allow_nan=False), encoding="utf-8"
        )
        temp.replace(folder)
    except BaseException:
        shutil.rmtree(temp, ignore_errors=True)
        raise
    return omitted


def read_incident(folder: Path, device: torch.device) -> Incident:
    """Read an incident folder without executing anything in it.

    Args:
        folder: The folder.
        device: Device for its tensors.

    Raises:
        StabilityError: It is not an incident folder, has another version, or is damaged.
    """
    if not (folder / _JSON).is_file():
        what = "contains no incident" if folder.is_dir() else "is not a folder"
        raise StabilityError(
            f"'{folder}' {what}; give a folder that contains {_JSON}, such as "
            "<run folder>/stability/incidents/step-000012."
        )
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    if size > 2 * INCIDENT_BYTES:
        raise StabilityError(
            f"'{folder}' has {size:,} bytes; an incident has at most {INCIDENT_BYTES:,}."
        )
    try:
        facts = json.loads((folder / _JSON).read_text(encoding="utf-8"))
        version = facts["schema_version"]
        if version != SCHEMA_VERSION:
            raise StabilityError(
                f"'{folder}' has incident version {version}, but this yolo-stability reads version "
                f"{SCHEMA_VERSION}: use the release that wrote it."
            )
        stored = _load(folder / _WEIGHTS, device) or {}
        states = _load(folder / _RANDOM, torch.device("cpu")) or {}
        window = [
            _kept(folder, i, entry, states, device) for i, entry in enumerate(facts["window"])
        ]
        return Incident(
            facts=facts,
            weights={
                k.removeprefix("model."): v for k, v in stored.items() if k.startswith("model.")
            }
            or None,
            extras={
                k.removeprefix("extra."): v for k, v in stored.items() if k.startswith("extra.")
            },
            window=window,
            culprit=facts["culprit"]["micro_batch"],
            omitted=tuple(facts["left_out"]),
        )
    except StabilityError as error:
        if not isinstance(error, CheckpointError):
            raise
        raise StabilityError(f"'{folder}' is damaged: {error}") from error
    except Exception as error:  # any error that malformed facts may cause
        raise StabilityError(
            f"'{folder}' is damaged ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else '?'}); train again to reproduce the "
            "incident."
        ) from error


def json_safe(value: Any) -> Any:
    """Return a value that JSON can represent: other types, NaN and Inf become strings.

    Example:
        >>> json_safe({"loss": float("nan"), "shape": (1, 2)})
        {'loss': 'nan', 'shape': [1, 2]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(k): json_safe(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | range):
        return [json_safe(v) for v in value]
    return str(value)


def _fitting(incident: Incident, limit: int) -> tuple[bool, list[int], tuple[str, ...]]:
    """Return whether the weights fit, which micro-batches fit, and what is omitted."""
    omitted = list(incident.omitted)
    weights = tensor_bytes({**(incident.weights or {}), **incident.extras})
    images = [i for i, kept in enumerate(incident.window) if not kept.dropped]
    sizes = {i: tensor_bytes(incident.window[i].batch) for i in images}
    over = f"the folder would exceed {limit / 2**20:g} MB"
    with_weights = incident.weights is not None and weights + sum(sizes.values()) <= limit
    if incident.weights is not None and not with_weights:
        omitted.append(f"the weights ({weights / 2**20:.1f} MB): {over}")
    room = limit - weights * with_weights
    for i in sorted(images, key=lambda i: i == incident.culprit):  # the culprit is omitted last
        if sum(sizes[i] for i in images) > room:
            images = [other for other in images if other != i]
            omitted.append(f"the images of micro-batch {i} ({sizes[i] / 2**20:.1f} MB): {over}")
    return with_weights, images, tuple(omitted)


def _window_facts(place: int, kept: KeptBatch, stored: bool) -> dict[str, Any]:
    """Return the JSON entries of a micro-batch."""
    files, labels = image_files(kept.batch), labels_of(kept.batch)
    return {
        "iteration": kept.iteration,
        "loss": None if kept.loss is None else float(kept.loss),
        "tensors": _batch_file(place) if stored else None,
        "images": [
            {"file": file, "labels": rows} for file, rows in zip(files, labels, strict=True)
        ],
    }


def _kept(
    folder: Path,
    place: int,
    entry: Mapping[str, Any],
    states: Mapping[str, Tensor],
    device: torch.device,
) -> KeptBatch:
    """Restore a micro-batch."""
    tensors = _load(folder / _batch_file(place), device) if entry["tensors"] else None
    prefix = f"{place}."
    mine = {k.removeprefix(prefix): v for k, v in states.items() if k.startswith(prefix)}
    loss = entry["loss"]
    return KeptBatch(
        iteration=int(entry["iteration"]),
        batch={**(tensors or {}), "im_file": [str(image["file"]) for image in entry["images"]]},
        random=RandomState.of(mine),
        loss=None if loss is None else torch.tensor(float(loss)),
        dropped=tensors is None,
    )


def _batch_file(place: int) -> str:
    """Return the name of the tensor file of a micro-batch."""
    return f"batch-{place}.pt"


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Save tensors by name; clones prevent views from saving their whole base tensor."""
    torch.save({k: v.detach().cpu().clone() for k, v in tensors.items()}, path)


def _load(path: Path, device: torch.device) -> dict[str, Tensor] | None:
    """Load tensors by name; None if the file does not exist."""
    if not path.is_file():
        return None
    return {name: value.to(device) for name, value in read_tensors(path).items()}
