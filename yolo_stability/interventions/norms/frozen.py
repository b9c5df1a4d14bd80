"""`norm=frozen`: BatchNorm whose running statistics are used, and no longer updated, in training too.

Scale and shift still learn. In a new model the statistics are mean 0 and variance 1, so nothing is normalised; in a
pretrained one they are those of its weights, as is usual when a detector is fine-tuned with small batches.
"""

from __future__ import annotations

from typing import ClassVar

from yolo_stability.interventions.norms._base import Norm

__all__ = ["FrozenBatchNorm"]


class FrozenBatchNorm(Norm):
    """Keeps each BatchNorm in its evaluation mode."""

    replaces: ClassVar[bool] = False
    freezes: ClassVar[bool] = True

    def layer(self, channels: int) -> None:
        """Nothing is put in."""
