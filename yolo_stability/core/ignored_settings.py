"""Settings that `optimizer=auto` ignores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["ignored_by_auto", "ignored_settings"]


def ignored_settings(
    requested: Mapping[str, Any], effective: Mapping[str, Any] | None = None
) -> list[str]:
    """Return the requested settings that `optimizer=auto` ignores, as `key=value`.

    A trainer with its own `build_optimizer` may well use them, and what was chosen may be what was
    requested.

    Args:
        requested: Settings that the user gave.
        effective: Settings in effect; None if not known yet.

    Example:
        >>> ignored_settings({"lr0": 0.1}), ignored_settings({"lr0": 0.1, "optimizer": "SGD"})
        (['lr0=0.1'], [])
        >>> ignored_settings({"lr0": 0.1}, {"groups": {"weight": {"lr": 0.1}}})
        []
    """
    if str(requested.get("optimizer") or "auto").lower() != "auto":
        return []
    effective = effective or {}
    if not effective.get("stock_chooses_rate", True):
        return []
    factor = requested.get("lr_mult") or 1.0
    in_force = {
        "lr0": [group["lr"] / factor for group in (effective.get("groups") or {}).values()],
        "momentum": [effective["momentum"]] if effective.get("momentum") is not None else [],
    }
    return [
        f"{key}={requested[key]}"
        for key, values in in_force.items()
        if requested.get(key) is not None
        and not any(math.isclose(value, float(requested[key]), rel_tol=1e-6) for value in values)
    ]


def ignored_by_auto(
    requested: Mapping[str, Any], effective: Mapping[str, Any] | None = None
) -> str | None:
    """Describe which requested settings `optimizer=auto` ignores.

    Args:
        requested: Settings that the user gave.
        effective: Settings in effect; None if not known yet.

    Returns:
        One sentence, or None when nothing is ignored.
    """
    ignored = ignored_settings(requested, effective)
    if not ignored:
        return None
    return (
        f"optimizer=auto ignores {' and '.join(ignored)} and chooses its own; "
        f"set an optimizer, such as optimizer=SGD, to apply it."
    )
