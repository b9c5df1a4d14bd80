"""Injected faults, one per file; users write the name of the file after `fault=`.

Importing this package does not import torch; the base class, which needs it, is imported on first
use.
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
    """Create a fault from a text such as `nan_grad@3`, `nan_loss@5,9` or `label_noise:0.3`.

    Args:
        text: KIND[:SHARE] or KIND@N,N,...; None for no fault.

    Raises:
        ConfigError: The fault is unknown, its number is invalid, or its step or iteration is
            missing.

    Example:
        >>> fault = parse_fault("nan_pixel@3,9")
        >>> str(fault), fault.counts, sorted(fault.at)
        ('nan_pixel@3,9', 'iteration', [3, 9])
    """
    if text is None:
        return None
    where = f"fault={text}"
    choice, at, moments = str(text).strip().partition("@")
    kind, value = split_choice(choice, where)
    FAULTS.check(kind, where)
    if at and not _MOMENTS.fullmatch(moments):
        raise ConfigError(
            f"{where}: '{moments}' is not a valid moment: expected {kind}@N or {kind}@N,N with "
            f"whole numbers, {FAULTS[kind].counts}s counted from 0."
        )
    return FAULTS[kind](value, [int(n) for n in moments.split(",")] if at else ())


def __getattr__(name: str) -> Any:
    """Import the base classes of a new fault on first use."""
    if name in __all__:
        from yolo_stability.interventions.faults import _base

        return getattr(_base, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
