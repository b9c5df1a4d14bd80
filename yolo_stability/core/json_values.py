"""Conversion of values for strict JSON, which has neither NaN nor infinities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["finite_json", "spelled_json"]


def finite_json(value: Any) -> Any:
    """Return a value with non-finite numbers replaced by None and paths by their text.

    Args:
        value: Any nesting of mappings, lists and tuples; other types are kept.

    Example:
        >>> finite_json({"loss": [0.5, float("nan")]})
        {'loss': [0.5, None]}
    """
    if isinstance(value, Mapping):
        return {str(key): finite_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def spelled_json(value: Any) -> Any:
    """Return a value with non-finite numbers and all non-JSON types replaced by their text.

    Args:
        value: Any nesting of mappings, lists and tuples.

    Example:
        >>> spelled_json({"loss": [0.5, float("nan")]})
        {'loss': [0.5, 'nan']}
    """
    if isinstance(value, Mapping):
        return {str(key): spelled_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [spelled_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
