"""Training-stability lab and safety net for Ultralytics YOLO.

The public names are imported lazily: importing the package imports neither torch nor Ultralytics.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from yolo_stability.core import views

if TYPE_CHECKING:
    from yolo_stability.api import (
        StabilityMonitor,
        benchmark,
        compare,
        diagnose,
        frontier,
        probe,
        train,
    )
    from yolo_stability.benchmarks.results import BenchmarkResult
    from yolo_stability.core.errors import StabilityError
    from yolo_stability.core.findings import Diagnosis
    from yolo_stability.core.types import Trace
    from yolo_stability.gradients.record import record
    from yolo_stability.trace import load_trace
    from yolo_stability.trainer.result import RunResult

__all__ = [
    "BenchmarkResult",
    "Diagnosis",
    "RunResult",
    "StabilityError",
    "StabilityMonitor",
    "Trace",
    "benchmark",
    "compare",
    "diagnose",
    "frontier",
    "load_trace",
    "probe",
    "record",
    "train",
]

_MODULES = {
    "BenchmarkResult": "benchmarks.results",
    "benchmark": "api",
    "compare": "api",
    "Diagnosis": "core.findings",
    "diagnose": "api",
    "frontier": "api",
    "RunResult": "trainer.result",
    "StabilityError": "core.errors",
    "StabilityMonitor": "api",
    "Trace": "core.types",
    "load_trace": "trace",
    "probe": "api",
    "record": "gradients.record",
    "train": "api",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)


def _register_views() -> None:
    """Register the notebook views of results."""
    from yolo_stability.display.notebook import register_views

    register_views()


views.wire(_register_views)
