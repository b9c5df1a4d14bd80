"""A run's own incidents as the rules read them: from its events, or from `incident.json`.

An incident names the images without which a batch would not have failed. That alone does not make
an image the culprit: where its pixels, the weights and the input of the failing module were all in
range, the code of the module is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from yolo_stability.trace.arrays import SeriesEvent

__all__ = [
    "IncidentFacts",
    "incident_of_event",
    "incidents_of",
    "named_images",
    "read_incident_facts",
    "read_incidents",
]

_FILE = "incident.json"
_BYTES = 64 * 2**20
_PIXEL, _ABOVE_OTHERS = 2.0, 3.0  # images are scaled to [0, 1]
_INPUT = 1e5
_GROWTH = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentFacts:
    """What is known about one bad step.

    Attributes:
        step: Optimizer step.
        block: Block that failed first, such as `model.12 UnitPixels`; the class of the loss if the
            phase is `loss`; None if unknown.
        layer: Innermost module, with its class; None if no module failed.
        phase: `forward`, `loss`, `backward` or `gradient`; None if unknown.
        images: File names of the images without which the batch does not fail; empty if none is.
        mixed: Whether each image was mixed from several files, of which one is named.
        reproduced: Whether the batch failed again when it was examined.
        text: Summary in one line.
        ranges: Ranges of images, module input and weights; empty in incidents of older versions.
    """

    step: int
    block: str | None
    layer: str | None
    phase: str | None
    images: tuple[str, ...]
    mixed: bool
    reproduced: bool
    text: str
    ranges: Mapping[str, Any]

    @property
    def images_bad(self) -> bool:
        """Whether a blamed image is itself not finite, or far outside the range of the others."""
        if self.ranges.get("images_finite") is False:
            return True
        pixel, other = (
            _number(self.ranges.get(k)) for k in ("largest_pixel", "other_largest_pixel")
        )
        return pixel is not None and pixel > max(_PIXEL, _ABOVE_OTHERS * (other or 0.0))

    @property
    def weights_bad(self) -> bool:
        """Whether the weights before the step were not finite, or had grown out of their range."""
        if self.ranges.get("weights_finite") is False:
            return True
        growth = self.ranges.get("weight_growth")
        known = _number(growth)
        return growth is not None and (known is None or known > _GROWTH)

    @property
    def custom(self) -> bool:
        """Whether code of the user failed, as opposed to a class of Ultralytics or torch."""
        return bool(self.ranges.get("custom"))

    @property
    def only_in_half(self) -> bool:
        """Whether the batch fails in half precision only."""
        return bool(self.ranges.get("only_in_half"))

    @property
    def located(self) -> bool:
        """Whether the block is part of the model: that of a module, or of a bad gradient."""
        return self.block is not None and (self.layer is not None or self.phase == "gradient")

    @property
    def blames_module(self) -> bool:
        """Whether a module, or a loss of the user, computed NaN or Inf from numbers in range."""
        if not self.ranges or not self.reproduced or self.images_bad or self.weights_bad:
            return False
        if self.layer is None:
            return self.phase in {"loss", "backward"} and self.custom
        entered = _number(self.ranges.get("module_input"))
        return self.phase in {"forward", "backward"} and entered is not None and entered < _INPUT

    @property
    def blames_images(self) -> bool:
        """Whether the images are to blame, as far as this incident alone shows."""
        return (
            self.reproduced
            and bool(self.images)
            and (self.images_bad or not (self.blames_module or self.weights_bad))
        )


def incident_of_event(event: Any) -> IncidentFacts:
    """Return the facts of an event of kind `incident`.

    Args:
        event: The event, with `step`, `block` and `data`.
    """
    data = event.data
    return IncidentFacts(
        step=int(event.step),
        block=event.block or data.get("culprit_module"),
        layer=data.get("layer"),
        phase=data.get("phase"),
        images=_names(data.get("images") or ()),
        mixed=bool(data.get("mixed")),
        reproduced=bool(data.get("reproduced")),
        text=str(data.get("text") or ""),
        ranges=data.get("ranges") or {},
    )


def incidents_of(events: Iterable[SeriesEvent]) -> tuple[IncidentFacts, ...]:
    """Return the incidents among the events of a run, in order."""
    return tuple(incident_of_event(event) for event in events if event.kind == "incident")


def read_incident_facts(folder: Path) -> IncidentFacts | None:
    """Return the facts of an incident folder; None if its `incident.json` cannot be read.

    Args:
        folder: The folder, of any origin; it is parsed as JSON only.
    """
    try:
        file = folder / _FILE
        if file.stat().st_size > _BYTES:
            return None
        facts = json.loads(file.read_text(encoding="utf-8"))
        culprit = facts["culprit"]
        return IncidentFacts(
            step=int(facts["step"]),
            block=_text(culprit["module"]),
            layer=_text(culprit["layer"]),
            phase=_text(culprit["phase"]),
            images=_names(culprit["images"]),
            mixed=False,
            reproduced=bool(culprit["reproduced"]),
            text=str(culprit["message"]),
            ranges=dict(facts.get("ranges") or {}),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def read_incidents(trace: Path, events: Iterable[SeriesEvent] = ()) -> tuple[IncidentFacts, ...]:
    """Return the incidents of a recorded run: its events, and folders that no event names.

    Args:
        trace: The `stability/` folder.
        events: Events of the run.
    """
    found = incidents_of(events)
    known = {incident.step for incident in found}
    folders = sorted((trace / "incidents").glob("step-*"))
    read = (facts for folder in folders if (facts := read_incident_facts(folder)) is not None)
    return tuple(
        sorted((*found, *(f for f in read if f.step not in known)), key=lambda facts: facts.step)
    )


def named_images(images: Sequence[str]) -> str:
    """Return image names for a sentence, such as `image a.jpg and 2 more`; empty without any.

    Example:
        >>> named_images(["a.jpg", "b.jpg"])
        'image a.jpg and 1 more'
    """
    if not images:
        return ""
    more = f" and {len(images) - 1} more" if len(images) > 1 else ""
    return f"image {images[0]}{more}"


def _names(files: Iterable[Any]) -> tuple[str, ...]:
    """Return the file names of paths, each once."""
    return tuple(dict.fromkeys(PurePath(str(file)).name for file in files))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _number(value: Any) -> float | None:
    """Return a number; infinity for `inf`, None for anything else, NaN included."""
    if isinstance(value, str):
        return float("inf") if value in {"inf", "-inf"} else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return None if math.isnan(value) else float(value)
