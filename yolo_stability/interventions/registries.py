"""What can be chosen by name: clips, normalisations, initialisations and faults; importing this loads no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolo_stability.registry import Registry

if TYPE_CHECKING:
    from yolo_stability.interventions.clipping import Clip
    from yolo_stability.interventions.fault import Fault
    from yolo_stability.interventions.initialisation import Init
    from yolo_stability.interventions.normalisation import Norm

__all__ = ["CLIPS", "FAULTS", "INITS", "NORMS"]

_HERE = "yolo_stability.interventions"

CLIPS: Registry[Clip] = Registry("clip", f"{_HERE}.clips", f"{_HERE}.clipping.Clip")
NORMS: Registry[Norm] = Registry("normalisation", f"{_HERE}.norms", f"{_HERE}.normalisation.Norm")
INITS: Registry[Init] = Registry("initialisation", f"{_HERE}.inits", f"{_HERE}.initialisation.Init")
FAULTS: Registry[Fault] = Registry("fault", f"{_HERE}.faults", f"{_HERE}.fault.Fault")
