"""One fault a file; the file's name is what users write after `fault=`.

Importing this folder loads no torch; the base class, which needs it, is imported when it is asked for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from yolo_stability.core.errors import ConfigError
from yolo_stability.core.registry import Registry
from yolo_stability.interventions.choice import split_choice

if TYPE_CHECKING:
    from yolo_stability.interventions.faults._base import DataFault, Fault, ImageFault

__all__ = ["FAULTS", "DataFault", "Fault", "ImageFault", "parse_fault"]

FAULTS: Registry[Fault] = Registry("fault", __name__, f"{__name__}._base.Fault")

_MOMENTS = re.compile(r"[0-9]{1,12}(,[0-9]{1,12})*")


def parse_fault(text: str | None) -> Fault | None:
    """Read a fault such as `nan_grad@3`, `nan_loss@5,9` or `label_noise:0.3`.

    Args:
        text: KIND[:SHARE] or KIND@N,N,...; None for no fault.

    Raises:
        ConfigError: There is no such fault, its number is impossible, or it lacks its moment.
    """
    if text is None:
        return None
    where = f"fault={text}"
    choice, at, moments = str(text).strip().partition("@")
    kind, value = split_choice(choice, where)
    FAULTS.check(kind, where)
    if at and not _MOMENTS.fullmatch(moments):
        raise ConfigError(
            f"{where}: '{moments}' is no moment; say when as {kind}@N or {kind}@N,N with whole numbers, "
            f"{FAULTS[kind].counts}s counted from 0."
        )
    return FAULTS[kind](value, [int(n) for n in moments.split(",")] if at else ())


def __getattr__(name: str) -> Any:
    """Import what a new fault builds on, when it is asked for."""
    if name in __all__:
        from yolo_stability.interventions.faults import _base

        return getattr(_base, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
