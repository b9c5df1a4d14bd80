"""One normalisation a file; the file's name is what users write after `norm=`.

Importing this folder loads no torch; the base class, which needs it, is imported when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yolo_stability.core.registry import Registry
from yolo_stability.interventions.choice import choose

if TYPE_CHECKING:
    from yolo_stability.interventions.norms._base import Norm

__all__ = ["NORMS", "Norm", "make_norm"]

NORMS: Registry[Norm] = Registry("normalisation", __name__, f"{__name__}._base.Norm")


def make_norm(text: str) -> Norm:
    """Read a normalisation such as `group`.

    Args:
        text: Its name.

    Raises:
        ConfigError: There is none of that name.
    """
    return choose(NORMS, "norm", text)


def __getattr__(name: str) -> Any:
    """Import what a new normalisation builds on, when it is asked for."""
    if name in __all__:
        from yolo_stability.interventions.norms import _base

        return getattr(_base, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
