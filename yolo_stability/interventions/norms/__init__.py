"""One normalisation a file; the file's name is what users write after `norm=`.

Importing this folder loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolo_stability.core.registry import Registry
from yolo_stability.interventions.choice import split_choice

if TYPE_CHECKING:
    from yolo_stability.interventions.norms._base import Norm

__all__ = ["NORMS", "make_norm"]

NORMS: Registry[Norm] = Registry("normalisation", __name__, f"{__name__}._base.Norm")


def make_norm(text: str) -> Norm:
    """Read a normalisation such as `group`.

    Args:
        text: Its name.

    Raises:
        ConfigError: There is none of that name.
    """
    where = f"norm={text}"
    kind, value = split_choice(text, where)
    NORMS.check(kind, where)
    return NORMS[kind](value)
