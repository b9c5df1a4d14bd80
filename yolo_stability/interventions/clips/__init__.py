"""One clip a file; the file's name is what users write before the colon.

Importing this folder loads no torch; the base class, which needs it, is imported when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yolo_stability.core.registry import Registry
from yolo_stability.interventions.choice import choose

if TYPE_CHECKING:
    from yolo_stability.interventions.clips._base import Clip, Gradient

__all__ = ["CLIPS", "Clip", "Gradient", "make_clip"]

CLIPS: Registry[Clip] = Registry("clip", __name__, f"{__name__}._base.Clip")


def make_clip(text: str) -> Clip:
    """Read a clip such as `norm:10` or `agc:0.01`.

    Args:
        text: `kind` or `kind:number`.

    Raises:
        ConfigError: There is no such clip, or its number is impossible.
    """
    return choose(CLIPS, "clip", text)


def __getattr__(name: str) -> Any:
    """Import what a new clip builds on, when it is asked for."""
    if name in __all__:
        from yolo_stability.interventions.clips import _base

        return getattr(_base, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
