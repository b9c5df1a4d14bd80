"""Evidence from a run's own incidents: which module or image broke a step, and in which range."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from yolo_stability.core.text import count
from yolo_stability.core.types import CauseName
from yolo_stability.diagnosis.cause_evidence.base import CauseEvidence
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.incidents import IncidentFacts, named_images

__all__ = ["blamed_twice", "from_incidents", "module_incidents"]

_PROVEN = 8.0  # outweighs all that a trace can show
_ONCE = 4.0
_TWICE = 2


def from_incidents(context: DiagnosisContext, *, earlier: bool) -> Iterator[CauseEvidence]:
    """Yield evidence from the incidents of a run.

    Args:
        context: The run.
        earlier: Whether something earlier explains a bad step: a leap of the learning rate or
            updates that are too large. A module or an image that merely fails then is no cause.
    """
    found = [incident for incident in context.incidents if incident.reproduced]
    bad = [incident for incident in found if incident.images_bad]
    if bad:
        named = named_images(bad[0].images) or "a batch"
        text = f"{named} of step {bad[0].step} holds pixels or labels that "
        yield CauseEvidence(
            weights={"data": _PROVEN}, text=f"{text}are not finite or far out of range"
        )
        return
    grown = [incident for incident in found if incident.weights_bad]
    if grown:
        text = f"the weights were no longer in range before step {grown[0].step}"
        yield CauseEvidence(weights={"learning_rate": 1.0}, text=text)
    if earlier or grown:
        return
    modules = module_incidents(found)
    if modules:
        yield _of_modules(modules)
        return
    twice = blamed_twice(found)
    if twice:
        text = f"{named_images(twice)} made {_TWICE} steps fail"
        yield CauseEvidence(weights={"data": 6.0}, text=text)


def module_incidents(incidents: Sequence[IncidentFacts]) -> list[IncidentFacts]:
    """Return the incidents in which the module that failed first in the run fails on its own."""
    found = [incident for incident in incidents if incident.blames_module]
    return [incident for incident in found if incident.block == found[0].block]


def blamed_twice(incidents: Sequence[IncidentFacts]) -> tuple[str, ...]:
    """Return the images that at least two incidents blame."""
    blamed = Counter(
        name for i in incidents if i.blames_images and not i.mixed for name in i.images
    )
    return tuple(sorted(name for name, times in blamed.items() if times >= _TWICE))


def _of_modules(found: Sequence[IncidentFacts]) -> CauseEvidence:
    """Return evidence against the code of a module."""
    images = {name for incident in found for name in incident.images}
    # no image named: the batch fails with gray images, or with each of its images, too
    whatever = len(images) > 1 or any(not incident.images for incident in found)
    half = all(incident.only_in_half for incident in found)
    where = " in half precision only" if half else ""
    steps = f"at {count(len(found), 'step')}" if len(found) > 1 else f"at step {found[0].step}"
    other = f" and {len(images)} different images" if len(images) > 1 else ""
    what = "gradients of NaN or Inf" if found[0].phase == "backward" else "NaN or Inf"
    text = (
        f"{found[0].block} computed {what}{where} {steps}{other}, while images, weights and its "
        "input were in range"
    )
    if half and not found[0].custom:  # every format ends somewhere, also for sound code
        return CauseEvidence(weights={"numeric_range": 6.0, "module": 1.0}, text=text)
    weight = _PROVEN if whatever else _ONCE
    weights: dict[CauseName, float] = {"module": weight}
    if half:
        weights["numeric_range"] = 2.0
    return CauseEvidence(weights=weights, text=text)
