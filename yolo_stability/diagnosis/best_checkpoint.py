"""The checkpoint `best.pt` of a run, which people deploy: its epoch, fitness and audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from yolo_stability.core.errors import StabilityError
from yolo_stability.core.findings import Best, Diagnosis
from yolo_stability.core.types import Trace
from yolo_stability.trace.arrays import EpochSeries, as_series

__all__ = ["best_of", "with_best"]

_BEST = Path("weights", "best.pt")
_ROUNDED = 1e-4  # results.csv has six digits
_WORDS = {"stable": "sound", "unstable": "sound", "failed": "damaged", "inconclusive": "unreadable"}


def with_best(diagnosis: Diagnosis, trace: Trace) -> Diagnosis:
    """Return the diagnosis of a recorded run with the best checkpoint in its run folder.

    Args:
        diagnosis: Diagnosis of the trace.
        trace: The trace, in the `stability/` folder of the run.
    """
    epochs = as_series(trace).epochs
    return replace(diagnosis, best=best_of(trace.path.parent, epochs))


def best_of(run: Path, epochs: EpochSeries) -> Best | None:
    """Return the best checkpoint of a run folder, audited; None without one.

    Args:
        run: The run folder.
        epochs: Epochs of the run, of which one has the fitness of the checkpoint.
    """
    from yolo_stability.checkpoint.audit import audit_checkpoint

    file = run / _BEST
    if not file.is_file():
        return None
    try:
        audit = audit_checkpoint(file)
        facts, word = audit.facts, _WORDS[audit.verdict]
    except StabilityError:
        facts, word = {}, "unreadable"
    fitness = _fitness(facts)
    epoch, known = _epoch(facts, fitness, epochs)
    return Best(
        epoch=epoch,
        fitness=known if fitness is None else fitness,
        file=_BEST.as_posix(),
        audit=word,
    )


def _fitness(facts: Mapping[str, Any]) -> float | None:
    """Return the fitness that a checkpoint holds, also after its optimizer was stripped."""
    metrics = facts.get("train_metrics")
    value = metrics.get("fitness") if isinstance(metrics, Mapping) else None
    known = isinstance(value, int | float) and np.isfinite(value)
    return float(value) if known else None  # type: ignore[arg-type]


def _epoch(
    facts: Mapping[str, Any], fitness: float | None, epochs: EpochSeries
) -> tuple[int | None, float | None]:
    """Return the epoch of a checkpoint, counted from 1, and the fitness recorded for it.

    Ultralytics strips the epoch at the end of a run, and overwrites a best checkpoint with a later
    one of the same fitness.
    """
    own = facts.get("epoch")
    if isinstance(own, int) and own >= 0:
        known = epochs.fitness[epochs.epoch == own]
        return own + 1, float(known[0]) if known.size and np.isfinite(known[0]) else None
    values = np.where(epochs.validated & np.isfinite(epochs.fitness), epochs.fitness, -np.inf)
    if not values.size or not np.isfinite(values.max()):
        return None, None
    wanted = values.max() if fitness is None else fitness
    same = np.flatnonzero(np.isclose(values, wanted, rtol=_ROUNDED, atol=_ROUNDED * 1e-2))
    return (int(epochs.epoch[same[-1]]) + 1, float(values[same[-1]])) if same.size else (None, None)
