"""Which packages a run's settings bring in: what such a run computes depends on their versions, too."""

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

    Args:
        settings: Keys of a run.

    Returns:
        Versions by name of the package; empty where all is of this package.
    """
    found = {}
    for key, registry in (("clip", CLIPS), ("norm", NORMS), ("init", INITS), ("fault", FAULTS)):
        kind = str(settings.get(key) or "").partition("@")[0].partition(":")[0]
        source = registry.source(kind)
        if source is not None:
            name, _, version = source.rpartition(" ")
            found[name] = version
    return found
