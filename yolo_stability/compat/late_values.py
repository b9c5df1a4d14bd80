"""Invalid values of Ultralytics keys that pass its check and make its trainer fail later."""

from __future__ import annotations

import math
from typing import Any

from yolo_stability.core.errors import ConfigError

__all__ = ["check_late"]

OPTIMIZERS = ("auto", "SGD", "MuSGD", "Adam", "Adamax", "AdamW", "NAdam", "RAdam", "RMSProp")


def check_late(key: str, value: Any) -> None:
    """Reject a value that passes Ultralytics' check but makes its trainer fail.

    Args:
        key: An Ultralytics key.
        value: Its value.

    Raises:
        ConfigError: The value is invalid; the message names the valid ones.

    Example:
        >>> check_late("imgsz", 640)
        >>> check_late("workers", -1)
        Traceback (most recent call last):
        ...
        yolo_stability.core.errors.ConfigError: Invalid value workers=-1: expected a whole number, \
0 or more.
    """
    valid = None
    if isinstance(value, float) and not math.isfinite(value):
        valid = "a finite number"
    elif key == "imgsz" and not _is_size(value):
        valid = "a whole number of pixels, 1 or more (such as imgsz=640)"
    elif key == "batch" and not _is_batch(value):
        valid = (
            "a whole number, 1 or more; -1 for automatic; or a fraction of GPU memory "
            "between 0 and 1"
        )
    elif key == "workers" and isinstance(value, int) and value < 0:
        valid = "a whole number, 0 or more"
    elif key in {"time", "warmup_epochs"} and isinstance(value, int | float) and value < 0:
        valid = "a number, 0 or more"
    elif key == "optimizer" and str(value).lower() not in {name.lower() for name in OPTIMIZERS}:
        valid = f"one of {', '.join(OPTIMIZERS)}"
    elif key == "cache" and str(value).lower() not in {"true", "false", "none", "ram", "disk"}:
        valid = "True, False, ram or disk"
    if valid:
        raise ConfigError(f"Invalid value {key}={value}: expected {valid}.")


def _is_size(value: Any) -> bool:
    """Return whether a value is a valid image size."""
    sizes = value if isinstance(value, list | tuple) else [value]
    return bool(sizes) and all(
        isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in sizes
    )


def _is_batch(value: Any) -> bool:
    """Return whether a value is a valid batch size."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return (
        value == -1
        or 0 < value < 1
        or (value >= 1 and (isinstance(value, int) or value.is_integer()))
    )
