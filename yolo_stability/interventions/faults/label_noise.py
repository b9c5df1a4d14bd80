"""`fault=label_noise:0.3`: a share of the labels is wrong; @N: all of one image of batch N.

The wrong class is drawn uniformly from the others. In data with a single class the label gets a
wrong position instead: its box, and its keypoints with it, is moved within the image; masks are
unchanged. A label is identified by its image file and its position among the labels of that image,
so it is wrong in the same way in every epoch, unless augmentation drops a label before it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from yolo_stability.core.errors import ConfigError
from yolo_stability.interventions.choice import Argument
from yolo_stability.interventions.faults._base import DataFault, unit_hash

__all__ = ["LabelNoise"]


class LabelNoise(DataFault):
    """Simulates wrong annotations."""

    argument: ClassVar[Argument] = Argument(
        meaning="the share of wrong labels", default=0.3, high=1.0, example=0.3
    )

    @torch.no_grad()
    def on_batch(self, batch: dict[str, Any], iteration: int) -> None:
        """Falsify the first image's labels at a given iteration, or the selected share."""
        if self.at and iteration not in self.at:
            return
        if "batch_idx" not in batch or "bboxes" not in batch:
            raise ConfigError(
                f"fault={self}: this task has no boxes; label_noise supports detect, pose and "
                "similar tasks."
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
        """Change the class of a label."""
        shift = 1 + int(unit_hash(self.seed, *key, "class") * (self.classes - 1))
        batch["cls"][row] = (batch["cls"][row] + shift) % self.classes

    def _move(self, batch: dict[str, Any], row: int, key: tuple[str, int]) -> None:
        """Move a box and its keypoints within the image; coordinates are relative to its sides."""
        box = batch["bboxes"][row]
        lots = box.new_tensor([unit_hash(self.seed, *key, axis) for axis in "xy"])
        center = box[2:4] / 2 + lots * (1 - box[2:4]).clamp(min=0)
        if "keypoints" in batch:
            batch["keypoints"][row, :, :2] += center - box[:2]
        box[:2] = center


def _keys(images: list[int], files: list[str]) -> list[tuple[str, int]]:
    """Return the key of each label: its image file and its position among that image's labels."""
    seen: dict[int, int] = {}
    keys = []
    for image in images:
        keys.append((files[image], seen.get(image, 0)))
        seen[image] = seen.get(image, 0) + 1
    return keys
