"""Micro-batches of the open window, kept by reference until their step has proven finite."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from yolo_stability.guard.incidents.batch import tensor_bytes

__all__ = [
    "KEPT_BYTES",
    "KeptBatch",
    "KeptWindow",
    "RandomState",
    "forked_random_state",
    "suspects_first",
]

KEPT_BYTES = 512 * 2**20
"""Maximum size of an open window's tensors, in bytes, not counting the newest batch."""
_SMALL = 2**20
_WORDS = 624  # state of the Mersenne Twister


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomState:
    """State of the random generators of Python, numpy and torch.

    Attributes:
        python: Result of `random.getstate()`.
        numpy: Result of `numpy.random.get_state()`.
        cpu: State of torch's CPU generator.
        cuda: State of the device's generator, if it has one.
    """

    python: Any
    numpy: Any
    cpu: Tensor
    cuda: Tensor | None = None

    @classmethod
    def now(cls, device: torch.device) -> RandomState:
        """Return the current state, without drawing a number or synchronizing the device."""
        return cls(
            python=random.getstate(),
            numpy=np.random.get_state(),  # noqa: NPY002 - the generator that Ultralytics uses
            cpu=torch.get_rng_state(),
            cuda=torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        )

    def restore(self, device: torch.device) -> None:
        """Reset every generator to this state."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)  # noqa: NPY002
        torch.set_rng_state(self.cpu)
        if self.cuda is not None and device.type == "cuda":
            torch.cuda.set_rng_state(self.cuda, device)

    def tensors(self) -> dict[str, Tensor]:
        """Return the state as tensors, which can be saved and loaded without executing code."""
        version, words, gauss = self.python
        _, keys, place, has_gauss, cached = self.numpy
        found = {
            "python": torch.tensor([version, *words], dtype=torch.int64),
            "python_gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
            "numpy": torch.tensor([*keys.tolist(), place, has_gauss], dtype=torch.int64),
            "numpy_gauss": torch.tensor([cached], dtype=torch.float64),
            "cpu": self.cpu,
        }
        return found if self.cuda is None else {**found, "cuda": self.cuda}

    @classmethod
    def of(cls, tensors: dict[str, Tensor]) -> RandomState:
        """Restore a state from the result of `tensors`."""
        version, *words = tensors["python"].tolist()
        gauss = tensors["python_gauss"].tolist()
        *keys, place, has_gauss = tensors["numpy"].tolist()
        if len(keys) != _WORDS or not 0 <= place <= _WORDS:  # numpy would read out of bounds
            raise ValueError("not a valid state of a random generator")
        return cls(
            python=(version, tuple(words), gauss[0] if gauss else None),
            numpy=(
                "MT19937",
                np.array(keys, dtype=np.uint32),
                place,
                has_gauss,
                float(tensors["numpy_gauss"]),
            ),
            cpu=tensors["cpu"],
            cuda=tensors.get("cuda"),
        )


@contextmanager
def forked_random_state(device: torch.device) -> Iterator[None]:
    """Restore every random generator on exit."""
    before = RandomState.now(device)
    try:
        yield
    finally:
        before.restore(device)


@dataclass(slots=True, kw_only=True)
class KeptBatch:
    """One micro-batch as the model received it.

    Attributes:
        iteration: Its iteration.
        batch: The preprocessed batch, including injected faults; without its large tensors if
            dropped.
        random: State of the generators before its forward.
        loss: Loss of its forward, 0-dim on the device; None before it.
        dropped: Whether its images were dropped because the window was too large.
    """

    iteration: int
    batch: dict[str, Any]
    random: RandomState
    loss: Tensor | None = None
    dropped: bool = False

    def lighten(self) -> None:
        """Drop images and masks; names and labels are kept."""
        self.batch = {
            k: v
            for k, v in self.batch.items()
            if not isinstance(v, Tensor) or tensor_bytes({k: v}) < _SMALL
        }
        self.batch.pop("img", None)
        self.dropped = True


@dataclass(slots=True)
class KeptWindow:
    """The micro-batches since the last optimizer step.

    Their tensors belong to the trainer: nothing is copied, but they live until the step, not just
    until the next batch. The oldest ones are therefore dropped above a limit; the newest costs
    nothing, since the trainer holds it too.

    Attributes:
        limit: Maximum size of the tensors, in bytes.
        batches: Micro-batches, oldest first.
    """

    limit: int = KEPT_BYTES
    batches: list[KeptBatch] = field(default_factory=list)
    _held: int = 0

    def add(self, kept: KeptBatch) -> None:
        """Keep a micro-batch."""
        self.batches.append(kept)
        self._held += tensor_bytes(kept.batch)
        if self._held > self.limit:
            self._drop_oldest()

    def note_loss(self, loss: Tensor | None) -> None:
        """Store the loss of the newest micro-batch."""
        if self.batches and loss is not None:
            self.batches[-1].loss = loss.detach()

    def clear(self) -> None:
        """Drop everything."""
        self.batches, self._held = [], 0

    def _drop_oldest(self) -> None:
        """Drop images, oldest first, until the rest fits."""
        for kept in self.batches[:-1]:
            if self._held <= self.limit:
                return
            if not kept.dropped:
                self._held -= tensor_bytes(kept.batch)
                kept.lighten()
                self._held += tensor_bytes(kept.batch)


def suspects_first(batches: Sequence[KeptBatch]) -> list[int]:
    """Return the positions of the micro-batches, those with a non-finite loss first."""
    return sorted(range(len(batches)), key=lambda i: _is_finite(batches[i].loss))


def _is_finite(loss: Tensor | None) -> bool:
    return loss is None or bool(torch.isfinite(loss).all())
