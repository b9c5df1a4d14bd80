"""One initialisation a file; the file's name is what users write before the colon.

Importing this folder loads no torch; the base class, which needs it, is imported when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yolo_stability.core.registry import Registry
from yolo_stability.interventions.choice import choose

if TYPE_CHECKING:
    from yolo_stability.interventions.inits._base import Init

__all__ = ["INITS", "Init", "make_init"]

INITS: Registry[Init] = Registry("initialisation", __name__, f"{__name__}._base.Init")


def make_init(text: str) -> Init:
    """Read an initialisation such as `kaiming` or `gain:3`.

    Args:
        text: `kind` or `kind:number`.

    Raises:
        ConfigError: There is none of that name, or its number is impossible.
    """
    return choose(INITS, "init", text)


def __getattr__(name: str) -> Any:
    """Import what a new initialisation builds on, when it is asked for."""
    if name in __all__:
        from yolo_stability.interventions.inits import _base

        return getattr(_base, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
