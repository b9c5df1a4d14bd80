"""Shows a bad step once more, in a process of its own, from nothing but its incident folder."""

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
    """What a replay showed.

    Attributes:
        reproduced: The kept batch goes wrong again.
        culprit_module: Block where it does, such as `model.0 Conv`; where it does not, the block whose gradient was
            hit, if one was.
        phase: `forward`, `loss`, `backward` or `gradient`; None where nothing can be said.
        image: File name of the image to blame; None where it is not an image.
        message: One sentence for people.
    """

    reproduced: bool
    culprit_module: str | None
    phase: str | None
    image: str | None
    message: str


def replay_incident(path: Path) -> ReplayResult:
    """Build the model of an incident, pass its batches once more, and look for the culprit anew.

    Args:
        path: The incident folder, from anybody; it is read only, and nothing in it is run.

    Raises:
        StabilityError: It is no incident folder, it is damaged, or its model cannot be built.
    """
    path = Path(path)
    try:
        return _replayed(path)
    except StabilityError:
        raise
    except Exception as error:  # facts and tensors that do not fit together
        raise StabilityError(
            f"'{path}' cannot be replayed ({_first_line(error)}): it is damaged, or was changed; train once more to "
            "see the incident again."
        ) from error


def _replayed(path: Path) -> ReplayResult:
    """Replay an incident whose facts are taken as they were written."""
    device = torch.device("cpu")
    incident = read_incident(path, device)
    recorded = str(incident.facts["device"])
    if recorded.startswith("cuda") and torch.cuda.is_available():
        device = torch.device("cuda", torch.cuda.current_device())
        incident = read_incident(path, device)
    if incident.weights is None or all(kept.dropped for kept in incident.window):
        missing = "; ".join(incident.left_out) or (
            "weights.pt is not there" if incident.weights is None else "no batch was kept"
        )
        return _as_recorded(
            incident.facts["culprit"],
            f"It cannot be replayed, since something is missing: {missing}.",
        )
    with forked_random_state(device):
        model = _rebuilt(path, incident, incident.weights, device)
        found = search(
            model, incident.window, _hits(incident.facts), autocast=_precision(incident.facts)
        )
    elsewhere = (
        f" It happened on {recorded} and was replayed on {device}."
        if device.type not in recorded
        else ""
    )
    return ReplayResult(
        reproduced=found.reproduced,
        culprit_module=None if found.place is None else found.place.block,
        phase=None if found.place is None else found.place.phase,
        image=found.names[0] if found.names else None,
        message=f"{_told(incident, found)}.{elsewhere}",
    )


def _told(incident: Incident, found: Culprit) -> str:
    """Say what a replay showed; damage on purpose may lie beside the batch."""
    if found.reproduced:
        return f"Reproduced: {found.message}"
    plain = f"Not reproduced: {found.message}"
    try:
        fault = parse_fault(incident.facts["settings"].get("fault"))
    except ConfigError:
        fault = None  # of a version that knew more of them
    if fault is None or not fault.hits:
        return plain
    steps = {int(incident.facts["step"])}
    struck = (
        steps if fault.counts == "optimizer step" else {kept.iteration for kept in incident.window}
    )
    if not struck & fault.at:
        return plain
    seen = found.message.partition("; ")[2]
    return f"Not reproduced, as it should be: fault={fault} damaged {fault.hits}, and the batch is innocent; {seen}"


def _rebuilt(
    path: Path, incident: Incident, weights: Mapping[str, Tensor], device: torch.device
) -> nn.Module:
    """Build the model; a folder that was changed, or written by another version, is told in one sentence."""
    try:
        return rebuild_model(incident.facts, weights, incident.extras, device)
    except StabilityError:
        raise
    except Exception as error:
        # whatever Ultralytics or torch make of a description that does not fit
        raise StabilityError(
            f"The model of '{path}' cannot be built here ({_first_line(error)}); the incident was written "
            f"with {incident.facts['versions']}."
        ) from error


def _first_line(error: Exception) -> str:
    """Return the kind of an error and the first line of what it says."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no text'}"


def _as_recorded(culprit: Mapping[str, Any], message: str) -> ReplayResult:
    """Return what was found when the incident was written."""
    images = culprit["images"]
    return ReplayResult(
        reproduced=False,
        culprit_module=culprit["module"],
        phase=culprit["phase"],
        image=PurePath(images[0]).name if images else None,
        message=message,
    )


def _hits(facts: Mapping[str, Any]) -> Hits:
    """Return what the optimizer step had seen."""
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
