"""Searches a bad window for its culprit: the micro-batch, the place in the model, and the image."""

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
    """What the optimizer step itself saw.

    Attributes:
        sign: What was not finite: `loss`, `gradient` or `buffer`.
        parameters: Names of the first parameters whose gradient was not finite.
        count: How many there were.
        total: Parameters with a gradient.
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
    """What the search found.

    Attributes:
        reproduced: Passing the batch once more goes wrong again.
        message: One line that a person understands.
        place: Where it went wrong; None where nothing can be said.
        micro_batch: Place of the micro-batch in the window.
        images: Paths of the images to blame; none where it is not the images, or nobody knows.
        names: The same without folders, or places in the batch where the task does not name its images.
        why: Why those images.
    """

    reproduced: bool
    message: str
    place: Place | None = None
    micro_batch: int | None = None
    images: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    why: str | None = None


def search(
    model: nn.Module,
    window: Sequence[KeptBatch],
    hits: Hits,
    *,
    autocast: torch.dtype | None,
    seconds: float = _SECONDS,
) -> Culprit:
    """Pass each micro-batch of a window once more and find what goes wrong.

    Args:
        model: A copy of the model as it was before the window, in the mode in which it trains; it is used up.
        window: The micro-batches, on the device of the model.
        hits: What the optimizer step saw.
        autocast: Precision of AMP; None when off.
        seconds: After so long no further image is tried.
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

        def bad(batch: dict[str, Any], kept: KeptBatch = kept) -> bool:
            buffers.restore()
            model.zero_grad()
            kept.random.restore(batch["img"].device)
            return run_pass(model, batch, autocast=autocast, locate=False).bad

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
        )
        return replace(culprit, message=_line(culprit, len(files)))
    return _not_reproduced(model, window, hits)


def _guilty(batch: dict[str, Any], bad: Bad, deadline: float) -> tuple[list[int], str]:
    """Return the images to blame and why; BatchNorm couples the images of a batch, so looking comes before trying."""
    found = images_not_finite(batch)
    if found:
        return found, "it holds NaN or Inf itself"
    if _fails(bad, blank(batch)):
        return [], "grey images go wrong as well, so the images are not to blame"
    return _tried(batch, bad, deadline)


def _tried(batch: dict[str, Any], bad: Bad, deadline: float) -> tuple[list[int], str]:
    """Return the images that go wrong alone; if none does, those without which the batch does not."""
    everyone = list(range(len(batch["img"])))
    if len(everyone) == 1:
        return everyone, "a grey image in its place does not go wrong"
    alone = [i for i in everyone if time.monotonic() < deadline and _fails(bad, select(batch, [i]))]
    if alone:
        return (
            (alone, "alone it goes wrong")
            if len(alone) < len(everyone)
            else ([], "every image goes wrong alone")
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
        return needed, "without it the batch does not go wrong"
    return [], "no single image is enough, or needed, to make it go wrong"


def _fails(bad: Bad, batch: dict[str, Any]) -> bool:
    """Return whether a batch goes wrong; one that cannot be tried (a single value a channel) tells nothing."""
    try:
        return bad(batch)
    except (RuntimeError, ValueError):
        return False


def _line(culprit: Culprit, count: int) -> str:
    """Say what was found."""
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
    """Say what is known when no micro-batch goes wrong once more."""
    dropped = sum(kept.dropped for kept in window)
    lead = "the batch alone does not reproduce it"
    if dropped:
        lead = f"{dropped} of {len(window)} micro-batches were too large to keep; the rest does not reproduce it"
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
    """Name the first image of a micro-batch and count the others."""
    names = [PurePath(file).name for file in kept.batch.get("im_file", ())]
    return f"{names[0]} and {len(names) - 1} more" if names else "no image is named"
