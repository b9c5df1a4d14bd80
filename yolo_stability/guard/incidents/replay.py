"""Replay of an incident: reproduces a bad step in a new process from its folder alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import torch
from torch import Tensor, nn

from yolo_stability.core.errors import ConfigError, StabilityError
from yolo_stability.guard.incidents.folder import Incident, read_incident
from yolo_stability.guard.incidents.model import rebuild_model
from yolo_stability.guard.incidents.search import Culprit, Hits, search
from yolo_stability.guard.incidents.window import forked_random_state
from yolo_stability.interventions.faults import parse_fault

__all__ = ["ReplayResult", "replay_incident"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayResult:
    """Result of a replay.

    Attributes:
        reproduced: Whether the saved batch fails again.
        culprit_module: Block that fails, such as `model.0 Conv`; if none fails, the block whose
            gradient was hit, if any.
        phase: `forward`, `loss`, `backward` or `gradient`; None if unknown.
        image: File name of the culprit image; None if no image is the culprit.
        message: Summary in one sentence.
    """

    reproduced: bool
    culprit_module: str | None
    phase: str | None
    image: str | None
    message: str


def replay_incident(path: Path) -> ReplayResult:
    """Build the model of an incident, run its batches again, and search for the culprit.

    Args:
        path: The incident folder, of any origin; it is only read, and nothing in it is executed.

    Raises:
        StabilityError: It is not an incident folder, it is damaged, or its model cannot be built.
    """
    path = Path(path)
    try:
        return _replayed(path)
    except StabilityError:
        raise
    except Exception as error:  # inconsistent facts and tensors
        raise StabilityError(
            f"'{path}' cannot be replayed ({_first_line(error)}): it is damaged or was modified; "
            "train again to reproduce the incident."
        ) from error


def _replayed(path: Path) -> ReplayResult:
    """Replay an incident without a check of its facts."""
    device = torch.device("cpu")
    incident = read_incident(path, device)
    recorded = str(incident.facts["device"])
    if recorded.startswith("cuda") and torch.cuda.is_available():
        device = torch.device("cuda", torch.cuda.current_device())
        incident = read_incident(path, device)
    if incident.weights is None or all(kept.dropped for kept in incident.window):
        missing = "; ".join(incident.omitted) or (
            "weights.pt is missing" if incident.weights is None else "no batch was saved"
        )
        return _as_recorded(
            incident.facts["culprit"],
            f"It cannot be replayed because data is missing: {missing}.",
        )
    with forked_random_state(device):
        model = _rebuilt(path, incident, incident.weights, device)
        found = search(
            model, incident.window, _hits(incident.facts), autocast=_precision(incident.facts)
        )
    elsewhere = (
        f" It occurred on {recorded} and was replayed on {device}."
        if device.type not in recorded
        else ""
    )
    return ReplayResult(
        reproduced=found.reproduced,
        culprit_module=None if found.place is None else found.place.block,
        phase=None if found.place is None else found.place.phase,
        image=found.names[0] if found.names else None,
        message=f"{_summary(incident, found)}.{elsewhere}",
    )


def _summary(incident: Incident, found: Culprit) -> str:
    """Summarize a replay; an injected fault may have struck outside the batch."""
    if found.reproduced:
        return f"Reproduced: {found.message}"
    plain = f"Not reproduced: {found.message}"
    try:
        fault = parse_fault(incident.facts["settings"].get("fault"))
    except ConfigError:
        fault = None  # written by a version with other faults
    if fault is None or not fault.hits:
        return plain
    steps = {int(incident.facts["step"])}
    struck = (
        steps if fault.counts == "optimizer step" else {kept.iteration for kept in incident.window}
    )
    if not struck & fault.at:
        return plain
    seen = found.message.partition("; ")[2]
    return f"Not reproduced, as expected: fault={fault} damaged {fault.hits}, not the batch; {seen}"


def _rebuilt(
    path: Path, incident: Incident, weights: Mapping[str, Tensor], device: torch.device
) -> nn.Module:
    """Build the model; any error in its description becomes one message."""
    try:
        return rebuild_model(incident.facts, weights, incident.extras, device)
    except StabilityError:
        raise
    except Exception as error:
        # any error that Ultralytics or torch raise for an inconsistent description
        raise StabilityError(
            f"The model of '{path}' cannot be built here ({_first_line(error)}); the incident was "
            f"written with {incident.facts['versions']}."
        ) from error


def _first_line(error: Exception) -> str:
    """Return the type of an error and the first line of its message."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no text'}"


def _as_recorded(culprit: Mapping[str, Any], message: str) -> ReplayResult:
    """Return the findings from when the incident was written."""
    images = culprit["images"]
    return ReplayResult(
        reproduced=False,
        culprit_module=culprit["module"],
        phase=culprit["phase"],
        image=PurePath(images[0]).name if images else None,
        message=message,
    )


def _hits(facts: Mapping[str, Any]) -> Hits:
    """Return the observations of the optimizer step."""
    hits = facts["hits"]
    return Hits(
        sign=str(facts["sign"]),
        parameters=tuple(hits["parameters"]),
        count=int(hits["count"]),
        total=hits["total"],
    )


def _precision(facts: Mapping[str, Any]) -> torch.dtype | None:
    """Return the precision of AMP."""
    return {"float16": torch.float16, "bfloat16": torch.bfloat16}.get(str(facts["amp"]))
