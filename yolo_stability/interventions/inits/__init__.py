"""Weight initializations, one per file; users write the name of the file before the colon.

Importing this package does not import torch; the base class, which needs it, is imported on first
use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yolo_stability.core.registry import Registry
from yolo_stability.interventions.choice import choose

if TYPE_CHECKING:
    from yolo_stability.interventions.inits._base import Init

__all__ = ["INITS", "Init", "make_init"]

INITS: Registry[Init] = Registry("initialization", __name__, f"{__name__}._base.Init")


def make_init(text: str) -> Init:
    """Create an initialization from a text such as `kaiming` or `gain:3`.

    Args:
        text: `kind` or `kind:number`.

    Raises:
        ConfigError: The initialization is unknown, or its number is invalid.

    Example:
        >>> str(make_init("gain:3"))
        'gain:3'
    """
    return choose(INITS, "init", text)


def __getattr__(name: str) -> Any:
    """Import the base class of a new initialization on first use."""
    if name in __all__:
        from yolo_stability.interventions.inits import _base

        return getattr(_base, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
