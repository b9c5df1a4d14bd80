"""One initialisation a file; the file's name is what users write before the colon.

Importing this folder loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolo_stability.core.registry import Registry
from yolo_stability.interventions.choice import split_choice

if TYPE_CHECKING:
    from yolo_stability.interventions.inits._base import Init

__all__ = ["INITS", "make_init"]

INITS: Registry[Init] = Registry("initialisation", __name__, f"{__name__}._base.Init")


def make_init(text: str) -> Init:
    """Read an initialisation such as `kaiming` or `gain:3`.

    Args:
        text: `kind` or `kind:number`.

    Raises:
        ConfigError: There is none of that name, or its number is impossible.
    """
    where = f"init={text}"
    kind, value = split_choice(text, where)
    INITS.check(kind, where)
    return INITS[kind](value)
