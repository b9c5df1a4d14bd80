"""`fault=label_noise:0.3`: that share of the labels names a wrong class; @N: all labels of one image of batch N.

The wrong class is any of the others, each as likely. In data of a single class there is none, so the label names a
wrong place instead: its box, and its keypoints with it, lies somewhere else in the image; masks stay. A label is known
by its image file and its place in the list of that image's labels, so it is wrong in the same way in every epoch as
long as augmentation drops no label before it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from yolo_stability.core.errors import ConfigError
from yolo_stability.interventions.choice import Argument
from yolo_stability.interventions.faults._base import DataFault, unit_hash

__all__ = ["LabelNoise"]


class LabelNoise(DataFault):
    """Wrong labels, as hurried annotators leave them."""

    argument: ClassVar[Argument] = Argument(
        meaning="the share of wrong labels", default=0.3, high=1.0, example=0.3
    )

    @torch.no_grad()
    def on_batch(self, batch: dict[str, Any], iteration: int) -> None:
        """Falsify all labels of the batch's first image with any if its moment has come, or those whose lot it is."""
        if self.at and iteration not in self.at:
            return
        if "batch_idx" not in batch or "bboxes" not in batch:
            raise ConfigError(
                f"fault={self}: this task has no boxes; label_noise works for detect, pose and the like."
            )
        images = [int(i) for i in batch["batch_idx"].tolist()]
        keys = _keys(images, self.files(batch))
        if self.at:
            chosen = [row for row, image in enumerate(images) if image == min(images)]
        else:
            chosen = [
                row for row, key in enumerate(keys) if unit_hash(self.seed, *key) < self.value
            ]
        for row in chosen:
            if self.classes > 1:
                self._rename(batch, row, keys[row])
            else:
                self._move(batch, row, keys[row])

    def _rename(self, batch: dict[str, Any], row: int, key: tuple[str, int]) -> None:
        """Give a label another class."""
        shift = 1 + int(unit_hash(self.seed, *key, "class") * (self.classes - 1))
        batch["cls"][row] = (batch["cls"][row] + shift) % self.classes

    def _move(self, batch: dict[str, Any], row: int, key: tuple[str, int]) -> None:
        """Move a box and its keypoints so that the box is still inside the image; places are shares of its sides."""
        box = batch["bboxes"][row]
        lots = box.new_tensor([unit_hash(self.seed, *key, axis) for axis in "xy"])
        center = box[2:4] / 2 + lots * (1 - box[2:4]).clamp(min=0)
        if "keypoints" in batch:
            batch["keypoints"][row, :, :2] += center - box[:2]
        box[:2] = center


def _keys(images: list[int], files: list[str]) -> list[tuple[str, int]]:
    """Return what each label is known by: its image's file and its place among the labels of that image."""
    seen: dict[int, int] = {}
    keys = []
    for image in images:
        keys.append((files[image], seen.get(image, 0)))
        seen[image] = seen.get(image, 0) + 1
    return keys
