"""`norm=frozen`: BatchNorm with running statistics that are used in training and not updated.

Scale and shift are still trained. In a new model the statistics are mean 0 and variance 1, so
nothing is normalized; in a pretrained one they are those of its weights, as is usual when a
detector is fine-tuned with small batches.
"""

from __future__ import annotations

from typing import ClassVar

from yolo_stability.interventions.norms._base import Norm

__all__ = ["FrozenBatchNorm"]


class FrozenBatchNorm(Norm):
    """Keeps each BatchNorm in evaluation mode."""

    replaces: ClassVar[bool] = False
    freezes: ClassVar[bool] = True

    def layer(self, channels: int) -> None:
        """Return nothing: no layer is inserted."""
