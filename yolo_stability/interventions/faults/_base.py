"""Base classes of injected faults: `fault=KIND[:SHARE]` or `fault=KIND@N,N,...`.

Faults serve demonstrations, suites and tests of the guard; each kind is one file in `faults/`. A
fault changes the trainer's inputs, never what the package reports, and never draws from a random
generator that the training uses. With `@` it strikes once at each of the given iterations
(optimizer steps for `nan_grad`), counted from 0. Without, it strikes a share of the data, the same
images in every epoch, as a corrupt file would: they are selected by the run's `seed` and the name
of the image file.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any, ClassVar

import torch
from torch import Tensor

from yolo_stability.core.errors import ConfigError
from yolo_stability.interventions.choice import Argument, Choice

__all__ = ["DataFault", "Fault", "ImageFault", "unit_hash"]


class Fault(Choice):
    """Base class of injected faults; a new fault is one subclass in its own file.

    Every hook does nothing unless overridden.

    Attributes:
        counts: Unit of the N after the `@`.
        hits: What it damages outside the batch, so that the batch alone cannot reproduce it; empty
            if the damage is in the batch.
        at: Iterations or steps at which it strikes; empty if a share of the data is damaged
            instead.

    Raises:
        ConfigError: The step or iteration is missing, or the number is invalid.

    Example:
        >>> class ZeroGradient(Fault):
        ...     counts = "optimizer step"
        ...
        ...     def on_gradients(self, trainer, step):
        ...         if step in self.at:
        ...             trainer.optimizer.zero_grad()
        >>> sorted(ZeroGradient(at=[3, 5]).at)
        [3, 5]
    """

    counts: ClassVar[str] = "iteration"
    hits: ClassVar[str] = ""

    def __init__(self, value: float | None = None, at: Iterable[int] = ()) -> None:
        self.at = frozenset(at)
        if self.at and value is None:
            self.value = float("nan")
            return
        if self.at or self.argument is None:
            raise ConfigError(
                f"fault={self.name()}: {self._complaint(value)}; write {self._usage()}."
            )
        super().__init__(value)

    def __str__(self) -> str:
        """Return the fault in the notation of users."""
        return (
            f"{self.name()}@{','.join(map(str, sorted(self.at)))}" if self.at else super().__str__()
        )

    def on_batch(self, batch: dict[str, Any], iteration: int) -> None:
        """Damage a preprocessed batch in place.

        Args:
            batch: Batch whose `img` holds floats in [0, 1], shape (batch, channels, height, width).
            iteration: Iteration, counted from 0.
        """

    def before_forward(self, trainer: Any, iteration: int) -> None:
        """Arrange for the next forward to fail; called before `on_batch` of the same iteration.

        Args:
            trainer: The trainer.
            iteration: Iteration, counted from 0.
        """

    def on_gradients(self, trainer: Any, step: int) -> None:
        """Damage a gradient before it is measured.

        Args:
            trainer: The trainer, with gradients accumulated and still scaled.
            step: Optimizer step that follows, counted from 0.
        """

    def _complaint(self, value: float | None) -> str:
        """Describe why this combination of number and moment is invalid."""
        if value is None:
            return f"the {self.counts} is missing"
        allowed = "no number" if self.argument is None else "a share or moments, not both"
        return f"{self.name()} takes {allowed}"

    def _usage(self) -> str:
        """Describe the notation of this kind."""
        moment = f"{self.name()}@N to strike at {self.counts} N (counted from 0; several as @N,N)"
        if self.argument is None:
            return moment
        share = f"{self.name()}:{self.argument.example:g}"
        return f"{share} to damage that share of the data in every epoch, or {moment}"


class DataFault(Fault):
    """Base class of faults that damage a share of the data if no iteration is given.

    Attributes:
        seed: Seed of the run; 0 before the first batch.
        classes: Number of classes of the data; 0 before the first batch.

    Example:
        >>> from yolo_stability.interventions.faults.label_noise import LabelNoise
        >>> fault = LabelNoise(0.5)
        >>> labels = {"img": torch.zeros(1, 3, 8, 8), "im_file": ["images/a.jpg"]}
        >>> fault.files(labels)
        ['a.jpg']
    """

    seed: int = 0
    classes: int = 0

    def before_forward(self, trainer: Any, iteration: int) -> None:
        """Read the properties of the run that select the damage."""
        self.seed = int(getattr(getattr(trainer, "args", None), "seed", 0) or 0)
        self.classes = int((getattr(trainer, "data", None) or {}).get("nc", 0))

    def files(self, batch: dict[str, Any]) -> list[str]:
        """Return the names of the image files without folders, so that these do not matter.

        Raises:
            ConfigError: The batches of this task name no files, and a share of the images is to be
                damaged.
        """
        files = batch.get("im_file", [""] * len(batch["img"]) if self.at else None)
        if files is None:
            raise ConfigError(
                f"fault={self}: the batches of this task do not name their image files, which "
                f"select the damage; use {self.name()}@N to strike at iteration N."
            )
        return [PurePath(file).name for file in files]


class ImageFault(DataFault):
    """Base class of faults that damage whole images and keep their labels.

    Example:
        >>> class WhiteImages(ImageFault):
        ...     def damage(self, image):
        ...         image.fill_(1.0)
        >>> batch = {"img": torch.zeros(2, 3, 4, 4), "im_file": ["a.jpg", "b.jpg"]}
        >>> WhiteImages(at=[7]).on_batch(batch, iteration=7)
        >>> batch["img"].amax(dim=(1, 2, 3)).tolist()
        [1.0, 0.0]
    """

    argument: ClassVar[Argument] = Argument(
        meaning="the share of damaged images", default=0.05, high=1.0, example=0.05
    )

    @abstractmethod
    def damage(self, image: Tensor) -> None:
        """Damage one image in place.

        Args:
            image: Floats in [0, 1], shape (channels, height, width).
        """

    @torch.no_grad()
    def on_batch(self, batch: dict[str, Any], iteration: int) -> None:
        """Damage the first image at a given iteration, or the selected share of images."""
        if self.at:
            chosen = [0] if iteration in self.at else []
        else:
            chosen = [
                i
                for i, file in enumerate(self.files(batch))
                if unit_hash(self.seed, file) < self.value
            ]
        for i in chosen:
            self.damage(batch["img"][i])


def unit_hash(seed: int, *key: object) -> float:
    """Return a number in [0, 1) that depends on the arguments only, on any machine.

    Example:
        >>> unit_hash(0, "a.jpg") == unit_hash(0, "a.jpg") != unit_hash(1, "a.jpg")
        True
    """
    digest = hashlib.blake2b(repr((seed, *key)).encode(), digest_size=8).digest()
    # only as many bits as a float holds; otherwise 1.0 could result
    return (int.from_bytes(digest, "big") >> 11) / 2**53
