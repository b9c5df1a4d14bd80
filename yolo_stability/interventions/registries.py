"""What can be chosen by name: clips, normalisations, initialisations and faults; importing this loads no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolo_stability.core.registry import Registry

if TYPE_CHECKING:
    from yolo_stability.interventions.clips._base import Clip
    from yolo_stability.interventions.faults._base import Fault
    from yolo_stability.interventions.inits._base import Init
    from yolo_stability.interventions.norms._base import Norm

__all__ = ["CLIPS", "FAULTS", "INITS", "NORMS"]

_HERE = "yolo_stability.interventions"

CLIPS: Registry[Clip] = Registry("clip", f"{_HERE}.clips", f"{_HERE}.clips._base.Clip")
NORMS: Registry[Norm] = Registry("normalisation", f"{_HERE}.norms", f"{_HERE}.norms._base.Norm")
INITS: Registry[Init] = Registry("initialisation", f"{_HERE}.inits", f"{_HERE}.inits._base.Init")
FAULTS: Registry[Fault] = Registry("fault", f"{_HERE}.faults", f"{_HERE}.faults._base.Fault")
