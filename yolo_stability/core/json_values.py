"""Values as strict JSON holds them, which knows neither NaN nor the infinities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["finite_json", "spelled_json"]


def finite_json(value: Any) -> Any:
    """Return a value with every number that is not finite replaced by None, and paths by their text.

    Args:
        value: Any nesting of mappings, lists and tuples; other types stay as they are.
    """
    if isinstance(value, Mapping):
        return {str(key): finite_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def spelled_json(value: Any) -> Any:
    """Return a value with every number that is not finite, and every other type, replaced by its text.

    Args:
        value: Any nesting of mappings, lists and tuples.
    """
    if isinstance(value, Mapping):
        return {str(key): spelled_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [spelled_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
