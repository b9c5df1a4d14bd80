"""The batches of the open window, kept by reference until their step has proven harmless."""

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
"""What the tensors of an open window may hold, beside those of its newest batch."""
_SMALL = 2**20
_WORDS = 624  # of the Mersenne Twister


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomState:
    """The random generators of Python, numpy and torch at one moment.

    Attributes:
        python: As `random.getstate()` returns it.
        numpy: As `numpy.random.get_state()` returns it.
        cpu: State of torch's generator for the CPU.
        cuda: That of the device, if it has one.
    """

    python: Any
    numpy: Any
    cpu: Tensor
    cuda: Tensor | None = None

    @classmethod
    def now(cls, device: torch.device) -> RandomState:
        """Return the present state; draws nothing and does not wait for the device."""
        return cls(
            python=random.getstate(),
            numpy=np.random.get_state(),  # noqa: NPY002 - the generator that Ultralytics uses
            cpu=torch.get_rng_state(),
            cuda=torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        )

    def restore(self, device: torch.device) -> None:
        """Make every generator go on from here."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)  # noqa: NPY002
        torch.set_rng_state(self.cpu)
        if self.cuda is not None and device.type == "cuda":
            torch.cuda.set_rng_state(self.cuda, device)

    def tensors(self) -> dict[str, Tensor]:
        """Return it as tensors, which can be saved and loaded without running code."""
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
        """Return what `tensors` gave."""
        version, *words = tensors["python"].tolist()
        gauss = tensors["python_gauss"].tolist()
        *keys, place, has_gauss = tensors["numpy"].tolist()
        if len(keys) != _WORDS or not 0 <= place <= _WORDS:  # numpy would read beyond its words
            raise ValueError("the state of a random generator is none")
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
    """Give every random generator back as it was, whatever draws from it inside."""
    before = RandomState.now(device)
    try:
        yield
    finally:
        before.restore(device)


@dataclass(slots=True, kw_only=True)
class KeptBatch:
    """One micro-batch as the model was given it.

    Attributes:
        iteration: Its iteration.
        batch: The preprocessed batch, damaged where a fault was injected; without its large tensors where dropped.
        random: The generators before its forward.
        loss: What its forward gave, 0-dim on the device; None before.
        dropped: Its images are gone, for the window held too much.
    """

    iteration: int
    batch: dict[str, Any]
    random: RandomState
    loss: Tensor | None = None
    dropped: bool = False

    def lighten(self) -> None:
        """Let go of images and masks; names and labels stay."""
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

    Their tensors are the trainer's own: nothing is copied, but they live until the step, not just until the next
    batch. So the oldest ones are dropped where they hold more than a limit; the newest costs nothing, for the trainer
    holds it too.

    Attributes:
        limit: Bytes that the tensors may hold together.
        batches: Oldest first.
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
        """Note the loss of the newest micro-batch."""
        if self.batches and loss is not None:
            self.batches[-1].loss = loss.detach()

    def clear(self) -> None:
        """Let go of everything."""
        self.batches, self._held = [], 0

    def _drop_oldest(self) -> None:
        """Drop images until the rest fits."""
        for kept in self.batches[:-1]:
            if self._held <= self.limit:
                return
            if not kept.dropped:
                self._held -= tensor_bytes(kept.batch)
                kept.lighten()
                self._held += tensor_bytes(kept.batch)


def suspects_first(batches: Sequence[KeptBatch]) -> list[int]:
    """Return the places of the micro-batches to look into, those whose loss is not finite first."""
    return sorted(range(len(batches)), key=lambda i: _is_finite(batches[i].loss))


def _is_finite(loss: Tensor | None) -> bool:
    return loss is None or bool(torch.isfinite(loss).all())
