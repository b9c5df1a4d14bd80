"""Versions of the packages that provide the clip, norm, init or fault of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yolo_stability.interventions.clips import CLIPS
from yolo_stability.interventions.faults import FAULTS
from yolo_stability.interventions.inits import INITS
from yolo_stability.interventions.norms import NORMS

__all__ = ["plugin_versions"]


def plugin_versions(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the version of each other package whose clip, norm, init or fault the settings name.

    The results of such a run also depend on these versions.

    Args:
        settings: Options of a run.

    Returns:
        Versions by package name; empty if this package provides everything.

    Example:
        >>> plugin_versions({"clip": "agc:0.01", "fault": "nan_grad@3"})
        {}
    """
    found = {}
    for key, registry in (("clip", CLIPS), ("norm", NORMS), ("init", INITS), ("fault", FAULTS)):
        kind = str(settings.get(key) or "").partition("@")[0].partition(":")[0]
        source = registry.source(kind)
        if source is not None:
            name, _, version = source.rpartition(" ")
            found[name] = version
    return found
