"""Search for the culprit of a bad window: micro-batch, place in the model, and image."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

import torch
from torch import Tensor, nn

from yolo_stability.guard.buffers import BufferSnapshot
from yolo_stability.guard.incidents.batch import (
    blank,
    image_files,
    image_name,
    images_not_finite,
    select,
)
from yolo_stability.guard.incidents.localize import Place, block_of, run_pass
from yolo_stability.guard.incidents.window import KeptBatch, suspects_first

__all__ = ["Culprit", "Hits", "search"]

_SECONDS = 60.0
_NAMED = 20

Bad = Callable[[dict[str, Any]], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """Observations of the optimizer step itself.

    Attributes:
        sign: Non-finite quantity: `loss`, `gradient` or `buffer`.
        parameters: Names of the first parameters whose gradient was not finite.
        count: Number of such parameters.
        total: Number of parameters with a gradient.
    """

    sign: str
    parameters: tuple[str, ...] = ()
    count: int = 0
    total: int = 0

    @classmethod
    def of(cls, sign: str, gradients: Sequence[tuple[str, Tensor]]) -> Hits:
        """Return the hits among gradients by parameter name."""
        bad = [name for name, grad in gradients if not bool(torch.isfinite(grad).all())]
        return cls(sign=sign, parameters=tuple(bad[:_NAMED]), count=len(bad), total=len(gradients))


@dataclass(frozen=True, slots=True, kw_only=True)
class Culprit:
    """Result of a search.

    Attributes:
        reproduced: Whether the batch fails again.
        message: Summary in one line.
        place: Location of the failure; None if unknown.
        micro_batch: Position of the micro-batch in the window.
        images: Paths of the culprit images; empty if no image is the culprit, or it is unknown.
        names: File names of these, or positions in the batch if the task does not name its images.
        why: Reason for blaming those images.
        only_in_half: Whether the batch fails under AMP and not in single precision.
    """

    reproduced: bool
    message: str
    place: Place | None = None
    micro_batch: int | None = None
    images: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    why: str | None = None
    only_in_half: bool = False


def search(
    model: nn.Module,
    window: Sequence[KeptBatch],
    hits: Hits,
    *,
    autocast: torch.dtype | None,
    seconds: float = _SECONDS,
) -> Culprit:
    """Run each micro-batch of a window again and find what fails.

    Args:
        model: Copy of the model in its state before the window, in training mode; it is modified.
        window: The micro-batches, on the device of the model.
        hits: Observations of the optimizer step.
        autocast: Precision of AMP; None if disabled.
        seconds: Time limit for trying images, in seconds.
    """
    deadline = time.monotonic() + seconds
    buffers = BufferSnapshot(model)
    buffers.take()
    model.zero_grad()
    for position in suspects_first(window):
        kept = window[position]
        if kept.dropped:
            continue
        kept.random.restore(kept.batch["img"].device)
        result = run_pass(model, kept.batch, autocast=autocast)
        if not result.bad:
            buffers.restore()
            continue

        def bad(
            batch: dict[str, Any],
            kept: KeptBatch = kept,
            precision: torch.dtype | None = autocast,
        ) -> bool:
            buffers.restore()
            model.zero_grad()
            kept.random.restore(batch["img"].device)
            return run_pass(model, batch, autocast=precision, locate=False).bad

        images, why = _guilty(kept.batch, bad, deadline)
        files = image_files(kept.batch)
        culprit = Culprit(
            reproduced=True,
            message="",
            place=result.place,
            micro_batch=position,
            images=tuple(files[i] for i in images),
            names=tuple(image_name(kept.batch, i) for i in images),
            why=why,
            only_in_half=autocast is not None and not bad(kept.batch, precision=None),
        )
        return replace(culprit, message=_line(culprit, len(files)))
    return _not_reproduced(model, window, hits)


def _guilty(batch: dict[str, Any], bad: Bad, deadline: float) -> tuple[list[int], str]:
    """Return the culprit images and the reason, by inspection before trials."""
    found = images_not_finite(batch)
    if found:
        return found, "it contains NaN or Inf itself"
    if _fails(bad, blank(batch)):
        return [], "gray images fail as well, so no image is the culprit"
    return _tried(batch, bad, deadline)


def _tried(batch: dict[str, Any], bad: Bad, deadline: float) -> tuple[list[int], str]:
    """Return the images that fail alone, else those without which the batch does not fail."""
    everyone = list(range(len(batch["img"])))
    if len(everyone) == 1:
        return everyone, "a gray image in its place does not fail"
    alone = [i for i in everyone if time.monotonic() < deadline and _fails(bad, select(batch, [i]))]
    if alone:
        return (
            (alone, "it fails alone")
            if len(alone) < len(everyone)
            else ([], "every image fails alone")
        )
    needed = [
        i
        for i in everyone
        if time.monotonic() < deadline
        and not _fails(bad, select(batch, [j for j in everyone if j != i]))
    ]
    if time.monotonic() >= deadline:
        return [], "there was no time to try every image"
    if needed and len(needed) < len(everyone):
        return needed, "without it the batch does not fail"
    return [], "no single image is sufficient or necessary for the failure"


def _fails(bad: Bad, batch: dict[str, Any]) -> bool:
    """Return whether a batch fails; False if it cannot be tried (a single value per channel)."""
    try:
        return bad(batch)
    except (RuntimeError, ValueError):
        return False


def _line(culprit: Culprit, count: int) -> str:
    """Summarize the result in one line."""
    place = culprit.place
    where = "" if place is None else f", first bad module {place.block} ({place.phase})"
    if place is not None and place.phase in {"loss", "backward"} and place.layer is None:
        where = f", first bad in {place.block} ({place.phase})"
    if place is not None and place.operation:
        where += f", in the derivative {place.operation}"
    if not culprit.names:
        return f"no single image of {count}{where}; {culprit.why}"
    more = f" and {len(culprit.names) - 1} more" if len(culprit.names) > 1 else ""
    return f"image {culprit.names[0]}{more}{where}"


def _not_reproduced(model: nn.Module, window: Sequence[KeptBatch], hits: Hits) -> Culprit:
    """Summarize what is known if no micro-batch fails again."""
    dropped = sum(kept.dropped for kept in window)
    lead = "the batch alone does not reproduce it"
    if dropped:
        lead = (
            f"{dropped} of {len(window)} micro-batches were too large to keep; "
            "the rest does not reproduce it"
        )
    if hits.sign == "gradient" and hits.parameters:
        name = hits.parameters[0]
        place = Place(phase="gradient", block=block_of(model, name), parameter=name)
        more = hits.count - 1
        others = f" and of {more} other{'s' if more > 1 else ''}" if more else ""
        message = f"{lead}; the gradient of {name}{others} in {place.block} was hit"
        return Culprit(reproduced=False, message=message, place=place)
    suspect = next((i for i in suspects_first(window) if _lost(window[i])), None)
    if hits.sign == "loss":
        whose = (
            "the loss" if suspect is None else f"the loss of iteration {window[suspect].iteration}"
        )
        of = "" if suspect is None else f" ({_first_names(window[suspect])})"
        message = f"{lead}; {whose}{of} was not finite"
        place = Place(phase="loss", block=type(getattr(model, "criterion", model)).__name__)
        return Culprit(reproduced=False, message=message, place=place, micro_batch=suspect)
    return Culprit(reproduced=False, message=f"{lead}; the statistics of BatchNorm were not finite")


def _lost(kept: KeptBatch) -> bool:
    """Return whether the loss of a micro-batch was not finite."""
    return kept.loss is not None and not bool(torch.isfinite(kept.loss).all())


def _first_names(kept: KeptBatch) -> str:
    """Return the name of the first image of a micro-batch and the number of others."""
    names = [PurePath(file).name for file in kept.batch.get("im_file", ())]
    return f"{names[0]} and {len(names) - 1} more" if names else "unnamed images"
