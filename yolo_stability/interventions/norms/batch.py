"""`norm=batch`: BatchNorm of the stock model (Ioffe and Szegedy 2015)."""

from __future__ import annotations

from typing import ClassVar

from yolo_stability.interventions.norms._base import Norm

__all__ = ["BatchNorm"]


class BatchNorm(Norm):
    """Leaves the model unchanged."""

    replaces: ClassVar[bool] = False

    def layer(self, channels: int) -> None:
        """Return nothing: no layer is inserted."""
