"""Deliberate damage, for demonstrations, suites and tests of the guard: `fault=KIND[:SHARE]` or `fault=KIND@N,N,...`.

Each kind is one file in `faults/`. A fault changes what the trainer computes from, never what the package reports,
and never draws from a random generator that the training uses. With `@` it strikes once at each of the iterations
named (optimizer steps for `nan_grad`), counted from 0. Without, it strikes a share of the data, the same images in
every epoch, as a corrupt file would: which ones follows from the run's `seed` and the name of the image file.
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
    """One kind of damage; a subclass in its own file is all that a new one takes.

    Every hook does nothing unless overridden.

    Attributes:
        counts: What the N behind the `@` counts.
        hits: What it damages behind the batch's back, so that the batch alone cannot show it again; empty where the
            damage lies in the batch.
        at: When it strikes; empty where a share of the data is damaged instead.

    Raises:
        ConfigError: The moment is missing, or the number is impossible.
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
        """Return the fault as a user would write it."""
        return (
            f"{self.name()}@{','.join(map(str, sorted(self.at)))}" if self.at else super().__str__()
        )

    def on_batch(self, batch: dict[str, Any], iteration: int) -> None:
        """Damage a preprocessed batch, in place.

        Args:
            batch: Its `img` holds floats in [0, 1], shape (batch, channels, height, width).
            iteration: Iterations begun before this one.
        """

    def before_forward(self, trainer: Any, iteration: int) -> None:
        """Arrange that the coming forward goes wrong; comes before `on_batch` of the same iteration.

        Args:
            trainer: The trainer.
            iteration: Iterations begun before this one.
        """

    def on_gradients(self, trainer: Any, step: int) -> None:
        """Damage a gradient before anybody looks at it.

        Args:
            trainer: The trainer, gradients accumulated and still scaled.
            step: The optimizer step about to happen.
        """

    def _complaint(self, value: float | None) -> str:
        """Say why this combination of number and moment is not possible."""
        if value is None:
            return f"{self.name()} strikes at a moment"
        return f"{self.name()} takes {'no number' if self.argument is None else 'a share or moments, not both'}"

    def _usage(self) -> str:
        """Say how this kind is written."""
        moment = f"{self.name()}@N to strike at {self.counts} N (counted from 0; several as @N,N)"
        if self.argument is None:
            return moment
        share = f"{self.name()}:{self.argument.example:g} to damage that share of the data in every epoch"
        return f"{share}, or {moment}"


class DataFault(Fault):
    """A fault that damages a share of the data when no moment is named.

    Attributes:
        seed: The run's; 0 until a trainer has been seen.
        classes: Number of classes of the data; 0 until a trainer has been seen.
    """

    seed: int = 0
    classes: int = 0

    def before_forward(self, trainer: Any, iteration: int) -> None:
        """Learn what decides about the damage."""
        self.seed = int(getattr(getattr(trainer, "args", None), "seed", 0) or 0)
        self.classes = int((getattr(trainer, "data", None) or {}).get("nc", 0))

    def files(self, batch: dict[str, Any]) -> list[str]:
        """Return the name of each image's file, without its folder: damage must not depend on where data lies.

        Raises:
            ConfigError: The batches of this task do not say, and a share of the images shall be damaged.
        """
        files = batch.get("im_file", [""] * len(batch["img"]) if self.at else None)
        if files is None:
            raise ConfigError(
                f"fault={self}: the batches of this task do not name their image files, which decide what is damaged; "
                f"write {self.name()}@N to strike at iteration N."
            )
        return [PurePath(file).name for file in files]


class ImageFault(DataFault):
    """Damages whole images; their labels stay."""

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
        """Damage the first image of a batch whose moment has come, or those images whose lot it is."""
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
    """Return a number in [0, 1) that follows from its arguments alone, on any machine; equal keys, equal numbers."""
    digest = hashlib.blake2b(repr((seed, *key)).encode(), digest_size=8).digest()
    # as many bits as a float holds, or 1.0 could come out
    return (int.from_bytes(digest, "big") >> 11) / 2**53
