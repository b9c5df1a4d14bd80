"""Conversion of values for strict JSON, which has neither NaN nor infinities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolo_stability.core.types import BRITISH

__all__ = ["finite_json", "spelled_json", "us_causes"]


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


def us_causes(value: Any) -> Any:
    """Return a value read from a file of schema 1 with the causes in it named as today.

    Args:
        value: Any nesting of mappings and lists.

    Example:
        >>> us_causes({"causes": [{"name": "normalisation", "score": 1.0}]})
        {'causes': [{'name': 'normalization', 'score': 1.0}]}
    """
    if isinstance(value, Mapping):
        renamed = {key: us_causes(item) for key, item in value.items()}
        if isinstance(value.get("cause"), str):
            renamed["cause"] = BRITISH.get(value["cause"], value["cause"])
        if isinstance(renamed.get("causes"), list):
            renamed["causes"] = [_us_name(cause) for cause in renamed["causes"]]
        return renamed
    return [us_causes(item) for item in value] if isinstance(value, list) else value


def _us_name(cause: Any) -> Any:
    if not isinstance(cause, Mapping) or not isinstance(cause.get("name"), str):
        return cause
    return {**cause, "name": BRITISH.get(cause["name"], cause["name"])}
